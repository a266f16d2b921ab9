// CUDA's words for a C++ compiler: a thread block's threads run in turn, each up to the next barrier.
//
// A kernel's source is included after this header and becomes ordinary functions. Threads are
// contexts of one system thread, so what is atomic on a card is plain here, and every run is the
// same. Odd blocks run their threads from the last to the first, so that reading what another
// thread has yet to write shows. With REAL_THREADS they are threads of the system, for sanitizers:
// those see what two of them touch without an atomic operation or a barrier between.
#pragma once

#ifdef REAL_THREADS
#include <pthread.h>

#include <thread>
#else
#include <ucontext.h>
#endif

#include <cmath>
#include <cstring>
#include <vector>

struct Index {
    unsigned x;
};

#ifdef REAL_THREADS
static thread_local Index threadIdx;
#else
static Index threadIdx;
#endif
static Index blockIdx, blockDim;

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __shared__ static

#ifdef REAL_THREADS

namespace cuda_shim {

static pthread_barrier_t barrier;

// Run a kernel, as `call`, on a grid of thread blocks, one after the other.
inline void launch(unsigned blocks, unsigned threads, void (*call)())
{
    blockDim.x = threads;
    pthread_barrier_init(&barrier, nullptr, threads);
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        std::vector<std::thread> running;
        for (unsigned number = 0; number < threads; ++number)
            running.emplace_back([call, number] {
                threadIdx.x = number;
                call();
            });
        for (std::thread &thread : running)
            thread.join();
    }
    pthread_barrier_destroy(&barrier);
}

}  // namespace cuda_shim

inline void __syncthreads() { pthread_barrier_wait(&cuda_shim::barrier); }

template <typename Number> inline Number atomicAdd(Number *place, Number value)
{
    return __atomic_fetch_add(place, value, __ATOMIC_RELAXED);
}

#else

namespace cuda_shim {

struct Fibre {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};

static std::vector<Fibre> fibres;
static ucontext_t scheduler;
static unsigned running;
static bool overflowed;
static void (*body)();

inline void enter()
{
    body();
    fibres[running].done = true;
}

// Run a kernel, as `call`, on a grid of thread blocks. Returns 0; 1 where a barrier was not
// reached by all threads of a block, which hangs a card; 2 where a signed sum overflowed.
inline int launch(unsigned blocks, unsigned threads, void (*call)())
{
    body = call;
    overflowed = false;
    fibres.resize(threads);
    for (Fibre &fibre : fibres)
        fibre.stack.resize(256 * 1024);
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        for (Fibre &fibre : fibres) {
            getcontext(&fibre.context);
            fibre.context.uc_stack.ss_sp = fibre.stack.data();
            fibre.context.uc_stack.ss_size = fibre.stack.size();
            fibre.context.uc_link = &scheduler;
            makecontext(&fibre.context, enter, 0);
            fibre.done = false;
        }
        for (unsigned ended = 0; ended < threads;) {
            ended = 0;
            for (unsigned turn = 0; turn < threads; ++turn) {
                running = blockIdx.x % 2 ? threads - 1 - turn : turn;
                threadIdx.x = running;
                swapcontext(&scheduler, &fibres[running].context);
                ended += fibres[running].done;
            }
            if (ended && ended < threads)
                return 1;
        }
    }
    return overflowed ? 2 : 0;
}

}  // namespace cuda_shim

inline void __syncthreads()
{
    using namespace cuda_shim;
    swapcontext(&fibres[running].context, &scheduler);
    threadIdx.x = running;
}

template <typename Number> inline Number atomicAdd(Number *place, Number value)
{
    const Number before = *place;
    if (__builtin_add_overflow(before, value, place) && Number(-1) < Number(0))
        cuda_shim::overflowed = true;
    return before;
}

#endif

template <typename To, typename From> inline To same_bits(From value)
{
    static_assert(sizeof(To) == sizeof(From), "not the same size");
    To result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}

inline float __uint_as_float(unsigned bits) { return same_bits<float>(bits); }
inline float __int_as_float(int bits) { return same_bits<float>(bits); }
inline int __float_as_int(float value) { return same_bits<int>(value); }
inline double __longlong_as_double(long long bits) { return same_bits<double>(bits); }

inline unsigned __byte_perm(unsigned first, unsigned second, unsigned selector)
{
    const unsigned long long both = (unsigned long long)second << 32 | first;
    unsigned result = 0;
    for (int byte = 0; byte < 4; ++byte)
        result |= (unsigned)(both >> (8 * (selector >> (4 * byte) & 7)) & 255) << (8 * byte);
    return result;
}

inline int __ffs(unsigned bits) { return __builtin_ffs((int)bits); }

// Compiled without contraction: each operation is rounded by itself.
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline long long __double2ll_rn(double a) { return std::llrint(a); }
