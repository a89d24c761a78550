// Loops over all cores, in the sources for the CPU.

#pragma once

#include <ATen/Parallel.h>
#include <c10/util/ParallelGuard.h>

#include <cstdint>

namespace {

// As at::parallel_for, which does one thing more: at its first call in a thread it takes over the number of threads that
// was last set in any thread of the program. torch itself has done that before, but the copy of the function that is
// compiled into this library does not know, and would undo what has been set for the thread since.
template <class Body>
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, const Body& body) {
  if (begin >= end) {
    return;
  }
#ifdef INTRA_OP_PARALLEL
  if (end - begin > grain && end - begin > 1 && !at::in_parallel_region() && at::get_num_threads() > 1) {
    at::internal::invoke_parallel(begin, end, grain, [&](std::int64_t first, std::int64_t last) {
      const c10::ParallelGuard guard(true);
      body(first, last);
    });
    return;
  }
#endif
  const at::internal::ThreadIdGuard thread(0);
  const c10::ParallelGuard guard(true);
  body(begin, end);
}

}  // namespace
