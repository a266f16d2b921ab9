// A program that runs the kernels on real threads and memory of exact sizes, for sanitizers.
// Compiled with KERNELS, the path of their source, and REAL_THREADS. Returns 1 where pixels or
// sums of codes got lost.
#include "cuda_shim.h"

#include KERNELS

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

constexpr int scenes = 2, pixels = 2 * CHUNK + 5, stride = (pixels + 15) / 16 * 16;

struct Freed {
    void operator()(void *memory) const { std::free(memory); }
};

template <typename Type> std::unique_ptr<Type[], Freed> memory_of(size_t count)
{
    void *memory = nullptr;
    if (posix_memalign(&memory, 512, count * sizeof(Type)))
        std::abort();
    std::memset(memory, 0, count * sizeof(Type));
    return std::unique_ptr<Type[], Freed>((Type *)memory);
}

unsigned next(unsigned most)
{
    static unsigned long long state = 1;
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(state >> 33) % most;
}

const size_t block_bytes = stride * (BANDS * sizeof(Code) + 1);
std::unique_ptr<unsigned char[], Freed> memory = memory_of<unsigned char>(scenes * block_bytes);
std::unique_ptr<Block[], Freed> blocks = memory_of<Block>(scenes);
std::unique_ptr<Chunk[], Freed> chunks = memory_of<Chunk>(3 * scenes);
std::unique_ptr<Scores[], Freed> scores = memory_of<Scores>(scenes);
std::unique_ptr<Yardstick[], Freed> yardsticks = memory_of<Yardstick>(scenes);
constexpr size_t entries = 1 + scenes * CLASSES * (BANDS + 1);
std::unique_ptr<unsigned long long[], Freed> totals = memory_of<unsigned long long>(entries);

void fill_scores()
{
    for (int scene = 0; scene < scenes; ++scene) {
        Scores &those = scores[scene];
        those.gap = 1e6f;  // so that some are scored again
        for (int j = 0; j < CLASSES; ++j) {
            those.n[j] = 0;
            for (int b = 0; b < BANDS; ++b) {
                const int centre = (int)next(60000) - 30000;
                those.midpoints[b] = 30000;
                those.q[j][b] = 2 * centre;
                those.n[j] += (long long)centre * centre;
                those.coefficients[j][1 + b] = (float)(-2 * centre);
            }
            those.coefficients[j][0] = (float)those.n[j];
        }
    }
}

}  // namespace

int main()
{
    long long expected[scenes][BANDS] = {};
    for (int scene = 0; scene < scenes; ++scene) {
        const long long codes = scene * block_bytes;
        const long long labels = codes + stride * BANDS * sizeof(Code);
        blocks[scene] = {codes, labels, stride, pixels, scene};
        for (int chunk = 0; chunk < 3; ++chunk)
            chunks[3 * scene + chunk] = {scene, chunk * CHUNK};
        for (int b = 0; b < BANDS; ++b)
            for (int i = 0; i < pixels; ++i) {
                const unsigned code = next(65536);
                ((Code *)(memory.get() + codes))[b * stride + i] = (Code)code;
                expected[scene][b] += code;
            }
        std::memset(memory.get() + labels, UNLABELLED, stride);
        yardsticks[scene].distance_scale = yardsticks[scene].silhouette_scale = 1024.0;
        for (int b = 0; b < BANDS; ++b) {
            yardsticks[scene].steps[b] = 0.25;
            for (int j = 0; j < CLASSES; ++j)
                yardsticks[scene].signatures[j][b] = next(65536) / 4.0;
        }
    }
    for (int step = 0; step < 2; ++step) {
        fill_scores();
        cuda_shim::launch(3 * scenes, THREADS, [] {
            assign_pixels(memory.get(), blocks.get(), chunks.get(), scores.get(), totals.get());
        });
    }
    int wrong = 0;
    for (int scene = 0; scene < scenes; ++scene) {
        long long found[BANDS + 1] = {};
        for (int j = 0; j < CLASSES; ++j)
            for (int b = 0; b <= BANDS; ++b)
                found[b] += totals[1 + (scene * CLASSES + j) * (BANDS + 1) + b];
        wrong += found[BANDS] != pixels;
        for (int b = 0; b < BANDS; ++b)
            wrong += found[b] != expected[scene][b];
    }
    cuda_shim::launch(3 * scenes, THREADS, [] {
        measure_pixels(
            memory.get(), blocks.get(), chunks.get(), yardsticks.get(), totals.get());
    });
    std::printf("%s\n", wrong ? "sums got lost" : "all pixels are there");
    return wrong > 0;
}
