// Which tables this machine can run.
#include "quant_kernels.h"

size_t quant_kernels_supported(const quant_kernels **tables, size_t max) {
  size_t count = 0;
  if (count < max) tables[count++] = &quant_kernels_scalar;
#if defined(__x86_64__)
  // These ask the operating system too: whether it saves the registers.
  __builtin_cpu_init();
  int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  if (avx2 && count < max) tables[count++] = &quant_kernels_avx2;
  int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
  if (avx512 && count < max) tables[count++] = &quant_kernels_avx512;
#elif defined(__aarch64__)
  if (count < max) tables[count++] = &quant_kernels_neon;
#endif
  return count;
}
