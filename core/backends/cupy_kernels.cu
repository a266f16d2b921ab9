// The kernels of the cupy backend: they label pixels and add them up, or measure them.
//
// Compile-time constants: BANDS, CLASSES, CODE_BYTES (of a code: 2, uint16, or 4, int32), PIXELS
// (that a thread scores at a time), THREADS and CHUNK (threads and pixels of a thread block),
// COPIES (of the sums in shared memory; 0: there is no room for any), STAGED (1: coefficients in
// shared memory), UNROLL (classes of one loop body) and RESIDENT (thread blocks a multiprocessor
// should hold). The records are laid out alike in cupy_kernels.py.
//
// CuPy compiles with -ftz=true, which makes no difference here: every float32 is a whole number,
// but for the gap, and where that is flushed to 0 scores are equal or at least 1 apart.

#define UNLABELLED 255
#define ROW ((BANDS + 4) / 4 * 4)
#define WORDS (CODE_BYTES / 2)
#define ENTRIES (BANDS * WORDS + 1)
#define STRIDE (CLASSES * ENTRIES | 1)
#define PIECES 3
#define PIECE_BITS 17
#define INFINITY_BITS 0x7ff0000000000000LL

constexpr int classes_at_once = UNROLL;

// Sums of a thread block are 32-bit integers, because shared memory adds those by itself. A code
// is added in pieces of 16 bits, a measure in pieces of 17.
static_assert(CHUNK <= 1 << 14, "sums of a thread block could pass 2^31");
static_assert(CLASSES <= 254 && CHUNK % PIXELS == 0 && PIXELS <= 8, "no such kernel");
static_assert(CODE_BYTES * PIXELS <= 16, "codes read at once pass what planes are aligned to");

#if CODE_BYTES == 2
typedef unsigned short Code;
#else
typedef int Code;
#endif

// Places are in bytes from the `memory` that a kernel is given: so the compiler knows that they
// are global. They are multiples of 16, and so is the stride.
struct Block {
    long long codes;  // planes of bands, `stride` codes apart
    long long labels;
    long long stride;
    int pixels;
    int scene;
};

struct Chunk {
    int block;
    int first;
};

struct alignas(16) Scores {
    float coefficients[CLASSES][ROW];  // n, then the bands' -q, rounded
    long long q[CLASSES][BANDS];
    long long n[CLASSES];
    int midpoints[BANDS];
    float gap;
};

struct alignas(16) Yardstick {
    double signatures[CLASSES][BANDS];
    double steps[BANDS];
    double distance_scale;
    double silhouette_scale;
    int midpoints[BANDS];
};

// Codes of as many pixels as a thread scores at a time, read at once.
struct alignas(CODE_BYTES * PIXELS) Codes {
#if CODE_BYTES == 2 && PIXELS > 1
    unsigned pairs[PIXELS / 2];
#else
    Code at[PIXELS];
#endif
};

// The labels of as many pixels, one a byte, and a type to compute with them.
#if PIXELS == 8
typedef unsigned long long Labels, Bytes;
#elif PIXELS == 4
typedef unsigned Labels, Bytes;
#elif PIXELS == 2
typedef unsigned short Labels;
typedef unsigned Bytes;
#else
typedef unsigned char Labels;
typedef unsigned Bytes;
#endif

struct alignas(16) Four {
    float at[4];
};

// A pixel's distance from a band's mid-point, exact where it is below 2^24. A uint16 code is made
// the lowest bits of a float32, 2^23 + code, which takes one instruction where conversions take
// three; the mid-point is kept likewise.
#if CODE_BYTES == 2
static __device__ __forceinline__ int kept_middle(int middle)
{
    return __float_as_int(8388608.0f + (float)middle);
}

static __device__ __forceinline__ float offset_of(const Codes &codes, int p, int middle)
{
#if PIXELS > 1
    const unsigned bits = __byte_perm(codes.pairs[p / 2], 0x4b00u, p % 2 ? 0x5432u : 0x5410u);
#else
    const unsigned bits = 0x4b000000u | codes.at[p];
#endif
    return __uint_as_float(bits) - __int_as_float(middle);
}
#else
static __device__ __forceinline__ int kept_middle(int middle)
{
    return middle;
}

static __device__ __forceinline__ float offset_of(const Codes &codes, int p, int middle)
{
    return (float)(codes.at[p] - middle);
}
#endif

static __device__ __forceinline__ void add(unsigned long long *total, long long value)
{
    atomicAdd(total, (unsigned long long)value);  // modulo 2^64, as two's complement adds
}

// Score a pixel again in integers: every partial sum is below 2^53.
static __device__ __noinline__ int exact_class(const Code *codes, long long stride, const Scores *scores)
{
    long long least = 0;
    int nearest = 0;
#pragma unroll 1
    for (int j = 0; j < CLASSES; ++j) {
        long long score = scores->n[j];
#pragma unroll 4
        for (int b = 0; b < BANDS; ++b)
            score -= scores->q[j][b] * ((int)codes[b * stride] - scores->midpoints[b]);
        if (j == 0 || score < least) {
            least = score;
            nearest = j;
        }
    }
    return nearest;
}

// Add a pixel's codes to a class, or take them away: to the thread block's sums or to all.
static __device__ __forceinline__ void move(
    int *sums, unsigned long long *totals, const Code *codes, long long stride, int row, int sign)
{
#if COPIES
    int *place = sums + row * ENTRIES;
    for (int b = 0; b < BANDS; ++b) {
        int code = codes[b * stride];
        if (WORDS == 1) {
            atomicAdd(place + b, sign * code);
        } else {
            atomicAdd(place + WORDS * b, sign * (code & 0xffff));
            atomicAdd(place + WORDS * b + 1, sign * (code >> 16));
        }
    }
    atomicAdd(place + ENTRIES - 1, sign);
#else
    unsigned long long *place = totals + (long long)row * (BANDS + 1);
    for (int b = 0; b < BANDS; ++b)
        add(place + b, (long long)sign * codes[b * stride]);
    add(place + BANDS, sign);
#endif
}

// Label the pixels of a chunk. `totals` are the number of changed pixels, then for each scene and
// class the sums of codes by band and the number of pixels: of this step less the one before.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) assign_pixels(
    unsigned char *memory, const Block *blocks, const Chunk *chunks, const Scores *scenes,
    unsigned long long *totals)
{
    __shared__ Four staged[STAGED ? CLASSES * ROW / 4 : 1];
    __shared__ int sums[COPIES ? COPIES * STRIDE : 1];
    __shared__ int middles[BANDS];
    __shared__ int changed;
    const Chunk chunk = chunks[blockIdx.x];
    const Block block = blocks[chunk.block];
    const Scores *scores = scenes + block.scene;
    const Four *given = (const Four *)scores->coefficients;
    unsigned long long *scene_totals = totals + 1 + (long long)block.scene * CLASSES * (BANDS + 1);

    for (int i = threadIdx.x; STAGED && i < CLASSES * ROW / 4; i += blockDim.x)
        staged[i] = given[i];
    for (int i = threadIdx.x; i < COPIES * STRIDE; i += blockDim.x)
        sums[i] = 0;
    for (int b = threadIdx.x; b < BANDS; b += blockDim.x)
        middles[b] = kept_middle(scores->midpoints[b]);
    if (threadIdx.x == 0)
        changed = 0;
    __syncthreads();

    const Four *coefficients = STAGED ? staged : given;
    int *own_sums = sums + (COPIES ? threadIdx.x % (COPIES ? COPIES : 1) * STRIDE : 0);
    const float gap = scores->gap;
    int count = 0;
    for (int turn = threadIdx.x * PIXELS; turn < CHUNK; turn += blockDim.x * PIXELS) {
        const int left = block.pixels - chunk.first - turn;
        if (left <= 0)
            break;
        const Code *codes = (const Code *)(memory + block.codes) + chunk.first + turn;
        Labels *labels = (Labels *)(memory + block.labels + chunk.first + turn);
        const Bytes before = *labels;
        float offsets[BANDS][PIXELS];
#pragma unroll
        for (int b = 0; b < BANDS; ++b) {
            const Codes plane = *(const Codes *)(codes + b * block.stride);
            const int middle = middles[b];
#pragma unroll
            for (int p = 0; p < PIXELS; ++p)
                offsets[b][p] = offset_of(plane, p, middle);
        }

        float best[PIXELS], second[PIXELS];
        int nearest[PIXELS];
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) {
            best[p] = second[p] = 3e38f;
            nearest[p] = 0;
        }
#pragma unroll classes_at_once
        for (int j = 0; j < CLASSES; ++j) {
            Four row[ROW / 4];
#pragma unroll
            for (int i = 0; i < ROW / 4; ++i)
                row[i] = coefficients[j * (ROW / 4) + i];
#pragma unroll
            for (int p = 0; p < PIXELS; ++p) {
                float score = row[0].at[0];
#pragma unroll
                for (int b = 0; b < BANDS; ++b)
                    score += row[(b + 1) / 4].at[(b + 1) % 4] * offsets[b][p];
                nearest[p] = score < best[p] ? j : nearest[p];
                second[p] = fminf(second[p], fmaxf(best[p], score));
                best[p] = fminf(best[p], score);
            }
        }

        Bytes found = 0;
        float margin = second[0] - best[0];
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) {
            found |= (Bytes)nearest[p] << (8 * p);
            margin = fminf(margin, second[p] - best[p]);
        }
        const unsigned there = (1u << (left < PIXELS ? left : PIXELS)) - 1u;
        if (margin <= gap) {
            unsigned doubtful = 0;
#pragma unroll
            for (int p = 0; p < PIXELS; ++p)
                doubtful |= (unsigned)(second[p] - best[p] <= gap) << p;
            for (doubtful &= there; doubtful; doubtful &= doubtful - 1u) {
                const int p = __ffs(doubtful) - 1;
                const Bytes exact = exact_class(codes + p, block.stride, scores);
                found = (found & ~((Bytes)255 << (8 * p))) | exact << (8 * p);
            }
        }
        if (found == before)
            continue;
        *labels = (Labels)found;
        unsigned moved = 0;
#pragma unroll
        for (int p = 0; p < PIXELS; ++p)
            moved |= (unsigned)((((found ^ before) >> (8 * p)) & 255) != 0) << p;
        for (moved &= there; moved; moved &= moved - 1u) {
            const int p = __ffs(moved) - 1;
            const int from = (int)(before >> (8 * p)) & 255, to = (int)(found >> (8 * p)) & 255;
            ++count;
            move(own_sums, scene_totals, codes + p, block.stride, to, 1);
            if (from != UNLABELLED)
                move(own_sums, scene_totals, codes + p, block.stride, from, -1);
        }
    }
    if (count)
        atomicAdd(&changed, count);
    __syncthreads();
    if (!changed)
        return;
    if (threadIdx.x == 0)
        add(totals, changed);
    for (int i = threadIdx.x; COPIES && i < CLASSES * (BANDS + 1); i += blockDim.x) {
        const int row = i / (BANDS + 1), b = i % (BANDS + 1);
        const int place = row * ENTRIES + b * WORDS;
        long long sum = 0;
        for (int copy = 0; copy < COPIES; ++copy) {
            sum += sums[copy * STRIDE + place];
            if (WORDS == 2 && b < BANDS)
                sum += sums[copy * STRIDE + place + 1] * 65536LL;
        }
        if (sum)
            add(scene_totals + i, sum);
    }
}

// Measure the pixels of a chunk. `totals` are, for each class, its sums of distances and of
// silhouettes. All float64, each operation rounded by itself, in the order of the reference.
extern "C" __global__ void __launch_bounds__(THREADS) measure_pixels(
    const unsigned char *memory, const Block *blocks, const Chunk *chunks, const Yardstick *scenes,
    unsigned long long *totals)
{
    __shared__ int sums[CLASSES * 2 * PIECES];
    const Chunk chunk = chunks[blockIdx.x];
    const Block block = blocks[chunk.block];
    const Yardstick *yardstick = scenes + block.scene;
    const double infinity = __longlong_as_double(INFINITY_BITS);

    for (int i = threadIdx.x; i < CLASSES * 2 * PIECES; i += blockDim.x)
        sums[i] = 0;
    __syncthreads();

    for (int turn = threadIdx.x; turn < CHUNK; turn += blockDim.x) {
        if (turn >= block.pixels - chunk.first)
            break;
        const Code *codes = (const Code *)(memory + block.codes) + chunk.first + turn;
        const int label = memory[block.labels + chunk.first + turn];
        double values[BANDS];
#pragma unroll
        for (int b = 0; b < BANDS; ++b) {
            const int offset = (int)codes[b * block.stride] - yardstick->midpoints[b];
            values[b] = __dmul_rn((double)offset, yardstick->steps[b]);
        }
        double own = 0.0, other = infinity;
#pragma unroll 1
        for (int j = 0; j < CLASSES; ++j) {
            double square = 0.0;
#pragma unroll
            for (int b = 0; b < BANDS; ++b) {
                const double difference = __dsub_rn(values[b], yardstick->signatures[j][b]);
                square = __dadd_rn(square, __dmul_rn(difference, difference));
            }
            if (j == label)
                own = square;
            else if (square < other)
                other = square;
        }
        own = __dsqrt_rn(own);
        other = __dsqrt_rn(other);
        const double larger = own > other ? own : other;
        const double silhouette = larger > 0.0 ? __ddiv_rn(__dsub_rn(other, own), larger) : 0.0;
        const long long whole[2] = {
            __double2ll_rn(__dmul_rn(own, yardstick->distance_scale)),
            __double2ll_rn(__dmul_rn(silhouette, yardstick->silhouette_scale)),
        };
        int *place = sums + label * 2 * PIECES;
        for (int i = 0; i < 2; ++i) {
            const int mask = (1 << PIECE_BITS) - 1;
            atomicAdd(place + i * PIECES, (int)(whole[i] & mask));
            atomicAdd(place + i * PIECES + 1, (int)(whole[i] >> PIECE_BITS & mask));
            atomicAdd(place + i * PIECES + 2, (int)(whole[i] >> 2 * PIECE_BITS));
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < CLASSES * 2; i += blockDim.x) {
        long long sum = 0;
        for (int piece = PIECES - 1; piece >= 0; --piece)
            sum = sum * (1LL << PIECE_BITS) + sums[i * PIECES + piece];
        if (sum)
            add(totals + i, sum);
    }
}
