// What the search for the scale of a 4-bit block asks of a vector.
#pragma once

#include "vector_kernels.h"

// Lanes as words: what a comparison of floats gives, all ones where it holds.
typedef int32_t lane_masks __attribute__((vector_size(sizeof(vec))));

static void nearest_products(const float *x, const float *weights, size_t n, float reciprocal,
                             const float *midpoints, const float *ascending, float *products) {
  vec factor = v_set(reciprocal), xq = v_zero(), qq = v_zero();
  // The lanes past the end weigh nothing.
#define BODY(load, store)                                                                \
  vec values = load(x + i), w = load(weights + i);                                       \
  vec s = v_mul(values, factor), q = v_set(ascending[0]);                                \
  for (int m = 0; m < 15; m++) {                                                         \
    lane_masks above = (lane_masks)(s > v_set(midpoints[m]));                            \
    q = (vec)((above & (lane_masks)v_set(ascending[m + 1])) | (~above & (lane_masks)q)); \
  }                                                                                      \
  vec wq = v_mul(w, q);                                                                  \
  xq = v_fma(wq, values, xq);                                                            \
  qq = v_fma(wq, q, qq);
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  products[0] = v_sum(xq);
  products[1] = v_sum(qq);
}
