// The kernels as functions of a shared library. Compiled with KERNELS, the path of their source.
#include "cuda_shim.h"

#include KERNELS

namespace {

template <typename Record, typename Memory>
int run(
    void (*kernel)(Memory *, const Block *, const Chunk *, const Record *, unsigned long long *),
    unsigned blocks, unsigned threads, void **arguments)
{
    static void (*chosen)(Memory *, const Block *, const Chunk *, const Record *, unsigned long long *);
    static void **given;
    chosen = kernel;
    given = arguments;
    return cuda_shim::launch(blocks, threads, [] {
        chosen((Memory *)given[0], (const Block *)given[1], (const Chunk *)given[2],
               (const Record *)given[3], (unsigned long long *)given[4]);
    });
}

}  // namespace

extern "C" int run_assign_pixels(unsigned blocks, unsigned threads, void **arguments)
{
    return run(assign_pixels, blocks, threads, arguments);
}

extern "C" int run_measure_pixels(unsigned blocks, unsigned threads, void **arguments)
{
    return run(measure_pixels, blocks, threads, arguments);
}

extern "C" int size_of_block() { return sizeof(Block); }
extern "C" int size_of_scores() { return sizeof(Scores); }
extern "C" int size_of_yardstick() { return sizeof(Yardstick); }
