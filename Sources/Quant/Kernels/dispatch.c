// Which tables this machine can run.
#include "quant_kernels.h"

size_t quant_kernels_supported(const quant_kernels **tables, size_t max) {
  size_t count = 0;
  if (count < max) tables[count++] = &quant_kernels_scalar;
  return count;
}
