// RefLoRA's algebra in float64, over the compiler's own vectors: eight doubles, in as many
// registers as an instruction set takes for them.
#pragma once

// How such vectors go from one function to another depends on the instruction set; none leaves this
// file.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

typedef double lanes __attribute__((ext_vector_type(8)));
typedef int64_t integer_lanes __attribute__((ext_vector_type(8)));  // also a comparison's: 0 or -1
typedef float single_lanes __attribute__((ext_vector_type(8)));

_Static_assert(QUANT_PAIRS == 8, "a lane is a pair");

INLINE lanes l_load(const double *p) {
  lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}
INLINE void l_store(double *p, lanes v) { memcpy(p, &v, sizeof v); }
INLINE lanes l_fma(lanes a, lanes b, lanes c) { return __builtin_elementwise_fma(a, b, c); }

// The first `count` floats, eight at most, and zeros.
INLINE lanes l_load_floats(const float *p, size_t count) {
  single_lanes v = 0;
  if (count >= 8) {
    memcpy(&v, p, sizeof v);
  } else {
    memcpy(&v, p, count * sizeof *p);
  }
  return __builtin_convertvector(v, lanes);
}
INLINE void l_store_floats(float *p, size_t count, lanes v) {
  single_lanes rounded = __builtin_convertvector(v, single_lanes);
  if (count >= 8) {
    memcpy(p, &rounded, sizeof rounded);
  } else {
    memcpy(p, &rounded, count * sizeof *p);
  }
}

static double sum_of_squares(const float *x, size_t n) {
  // Four sums: a fused multiply-add takes four cycles, and one of eight lanes starts in each.
  lanes sum[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
#pragma clang loop unroll(full)
    for (size_t j = 0; j < 4; j++) {
      lanes v = l_load_floats(x + i + 8 * j, 8);
      sum[j] = l_fma(v, v, sum[j]);
    }
  }
  for (; i < n; i += 8) {
    lanes v = l_load_floats(x + i, n - i);
    sum[0] = l_fma(v, v, sum[0]);
  }
  lanes all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  return ((all[0] + all[1]) + (all[2] + all[3])) + ((all[4] + all[5]) + (all[6] + all[7]));
}

// --- Products of a factor ---
//
// DEPTH columns of a factor at a time become doubles in the first-level cache.

enum {
  DEPTH = 64,
  // Rows of a product whose sums the registers hold, with the vector that they share.
  STRIP = LANES == 16 ? 8 : 4
};

INLINE size_t padded_to_8(size_t count) { return (count + 7) / 8 * 8; }

// sum[i] += sum over t < depth of x[i * x_row + t * x_step] * (8 doubles at v + t * v_step)
INLINE void multiply_strip(size_t depth, const double *x, size_t x_row, size_t x_step,
                           const double *v, size_t v_step, lanes sum[STRIP]) {
#pragma clang loop unroll_count(2)
  for (size_t t = 0; t < depth; t++) {
    lanes shared = l_load(v + t * v_step);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < STRIP; i++) {
      sum[i] = l_fma((lanes)(x[i * x_row + t * x_step]), shared, sum[i]);
    }
  }
}

// out[r][0 ..< padded] = rows of `columns` floats, and zeros.
static void widen_rows(const float *in, size_t ld, size_t rows, size_t columns, double *out,
                       size_t padded) {
  for (size_t r = 0; r < rows; r++) {
    for (size_t c = 0; c < padded; c += 8) {
      size_t count = c < columns ? columns - c : 0;
      l_store(out + r * padded + c, l_load_floats(in + r * ld + c, count));
    }
  }
}

static void factor_gram(const quant_factor *f, double *g, double *scratch) {
  size_t rank = f->rank, padded = padded_to_8(rank);
  double *sums = scratch, *panel = sums + padded * padded;
  float *turned = (float *)(panel + DEPTH * padded);
  memset(sums, 0, padded * padded * sizeof *sums);
  for (size_t k = 0; k < f->n; k += DEPTH) {
    size_t depth = smaller(DEPTH, f->n - k);
    // panel[t][i] = F[i][k + t]
    if (f->is_tall) {
      widen_rows(f->data + k * rank, rank, depth, rank, panel, padded);
    } else {
      transpose(f->data + k, f->n, rank, depth, turned, rank);
      widen_rows(turned, rank, depth, rank, panel, padded);
    }
    // The blocks that meet the upper triangle.
    for (size_t j = 0; j < padded; j += 8) {
      for (size_t i = 0; i < j + 8; i += STRIP) {
        double *block = sums + i * padded + j;
        lanes sum[STRIP];
#pragma clang loop unroll(full)
        for (size_t s = 0; s < STRIP; s++) sum[s] = l_load(block + s * padded);
        multiply_strip(depth, panel + i, 1, padded, panel + j, padded, sum);
#pragma clang loop unroll(full)
        for (size_t s = 0; s < STRIP; s++) l_store(block + s * padded, sum[s]);
      }
    }
  }
  for (size_t i = 0; i < rank; i++) {
    for (size_t j = i; j < rank; j++) g[i * rank + j] = g[j * rank + i] = sums[i * padded + j];
  }
}

// A strip of M F: rows i ..< i + STRIP, 8 columns of the panel's [rank][DEPTH].
INLINE void multiply_wide(const double *m, size_t padded, const double *panel, size_t rank,
                          size_t rows, float *out, size_t ld, size_t columns) {
  lanes sum[STRIP] = {0};
  multiply_strip(rank, m, 1, padded, panel, DEPTH, sum);
#pragma clang loop unroll(full)
  for (size_t s = 0; s < STRIP; s++) {
    if (s < rows) l_store_floats(out + s * ld, columns, sum[s]);
  }
}

// A strip of Fᵀ M: STRIP rows of the panel's [DEPTH][padded], 8 columns of M.
INLINE void multiply_tall(const double *m, size_t padded, const double *panel, size_t rank,
                          size_t rows, float *out, size_t columns) {
  lanes sum[STRIP] = {0};
  multiply_strip(rank, panel, padded, 1, m, padded, sum);
#pragma clang loop unroll(full)
  for (size_t s = 0; s < STRIP; s++) {
    if (s < rows) l_store_floats(out + s * rank, columns, sum[s]);
  }
}

static void factor_multiply(const double *m, const quant_factor *f, double *scratch) {
  size_t rank = f->rank, padded = padded_to_8(rank);
  double *square = scratch, *panel = square + padded * padded;
  memset(square, 0, (padded + DEPTH) * padded * sizeof *square);
  for (size_t i = 0; i < rank; i++) memcpy(square + i * padded, m + i * rank, rank * sizeof *m);
  for (size_t k = 0; k < f->n; k += DEPTH) {
    size_t depth = smaller(DEPTH, f->n - k);
    if (f->is_tall) {
      float *rows = f->data + k * rank;
      widen_rows(rows, rank, depth, rank, panel, padded);
      for (size_t t = 0; t < depth; t += STRIP) {
        for (size_t j = 0; j < rank; j += 8) {
          multiply_tall(square + j, padded, panel + t * padded, rank, depth - t,
                        rows + t * rank + j, rank - j);
        }
      }
    } else {
      widen_rows(f->data + k, f->n, rank, depth, panel, DEPTH);
      for (size_t i = 0; i < rank; i += STRIP) {
        for (size_t t = 0; t < depth; t += 8) {
          multiply_wide(square + i, padded, panel + t, rank, rank - i, f->data + i * f->n + k + t,
                        f->n, depth - t);
        }
      }
    }
  }
}

// --- Means of pairs, a lane each ---
//
// Of a symmetric matrix the upper triangle is kept, row after row.

// Row i's elements j >= i are at this offset + j.
INLINE size_t row_of(size_t rank, size_t i) { return i * (2 * rank - i - 1) / 2; }

INLINE int any(integer_lanes mask) {
  int64_t all = 0;
#pragma clang loop unroll(full)
  for (int l = 0; l < 8; l++) all |= mask[l];
  return all != 0;
}

static void load_triangles(size_t count, size_t rank, const double *in, lanes *out) {
  for (size_t i = 0; i < rank; i++) {
    lanes *row = out + row_of(rank, i);
    for (size_t j = i; j < rank; j++) {
      // Lanes without a pair work on the identity.
      lanes v = i == j;
      for (size_t p = 0; p < count; p++) v[p] = in[(p * rank + i) * rank + j];
      row[j] = v;
    }
  }
}

static void store_triangles(size_t count, size_t rank, const lanes *in, double *out) {
  for (size_t i = 0; i < rank; i++) {
    const lanes *row = in + row_of(rank, i);
    for (size_t j = i; j < rank; j++) {
      for (size_t p = 0; p < count; p++) {
        double *square = out + p * rank * rank;
        square[i * rank + j] = square[j * rank + i] = row[j][p];
      }
    }
  }
}

// Leaves -M⁻¹ as scalar.c's `sweep`; returns log2 of M's determinant, and clears lanes of
// `definite` whose pivots show that M is not positive definite.
static lanes sweep(size_t rank, lanes *m, lanes *column, integer_lanes *definite) {
  // The determinant would overflow: its exponent is counted apart.
  lanes significand = 1;
  integer_lanes exponent = 0;
  for (size_t k = 0; k < rank; k++) {
    lanes *row_k = m + row_of(rank, k), pivot = row_k[k], reciprocal = 1 / pivot;
    *definite &= (pivot > 0) & (pivot < (lanes)INFINITY);
    significand *= pivot;
    integer_lanes bits = (integer_lanes)significand;
    exponent += (bits >> 52) - 1023;
    significand = (lanes)((bits & 0x000fffffffffffff) | 0x3ff0000000000000);

    for (size_t i = 0; i < k; i++) column[i] = m[row_of(rank, i) + k];
    for (size_t j = k + 1; j < rank; j++) column[j] = row_k[j];
    column[k] = 0;
    for (size_t i = 0; i < rank; i++) {
      lanes *row = m + row_of(rank, i), factor = -column[i] * reciprocal;
#pragma clang loop unroll_count(4)
      for (size_t j = i; j < rank; j++) row[j] = l_fma(factor, column[j], row[j]);
    }
    for (size_t i = 0; i < k; i++) m[row_of(rank, i) + k] = column[i] * reciprocal;
    for (size_t j = k + 1; j < rank; j++) row_k[j] = column[j] * reciprocal;
    row_k[k] = -reciprocal;
  }
  lanes logarithm = __builtin_convertvector(exponent, lanes);
  for (int l = 0; l < 8; l++) logarithm[l] += log2(significand[l]);
  return logarithm;
}

static lanes trace(size_t rank, const lanes *m) {
  lanes sum = 0;
  for (size_t i = 0; i < rank; i++) sum += m[row_of(rank, i) + i];
  return sum;
}

// M ← (μ M - (swept N) / μ) / 2 in the active lanes; returns ‖change‖² / ‖M‖².
static lanes average(size_t rank, lanes *m, const lanes *swept, lanes mu, integer_lanes active) {
  lanes kept = 0.5 * mu, added = -0.5 / mu, change = 0, norm = 0;
  for (size_t i = 0; i < rank; i++) {
    size_t row = row_of(rank, i);
    lanes changes = 0, squares = 0;
    for (size_t j = i; j < rank; j++) {
      lanes now = m[row + j], next = l_fma(kept, now, added * swept[row + j]), step = next - now;
      // What is below the diagonal counts too.
      lanes weight = i == j ? 1 : 2;
      changes = l_fma(weight * step, step, changes);
      squares = l_fma(weight * next, next, squares);
      m[row + j] = active ? next : now;
    }
    change += changes;
    norm += squares;
  }
  return change / norm;
}

static unsigned geometric_means(size_t count, size_t rank, double largest_condition,
                                const double *x, const double *y, double *s, double *inverse,
                                double *scratch) {
  size_t size = rank * (rank + 1) / 2;
  lanes *m = (lanes *)scratch, *n = m + size, *swept_m = n + size, *swept_n = swept_m + size;
  lanes *column = swept_n + size, previous = INFINITY;
  load_triangles(count, rank, y, m);
  load_triangles(count, rank, x, n);
  integer_lanes index = {0, 1, 2, 3, 4, 5, 6, 7}, active = index < (int64_t)count, found = 0;
  // A lane that has converged stays as it is, so that its neighbours do not matter.
  for (int iteration = 0; iteration < 60 && any(active); iteration++) {
    memcpy(swept_m, m, size * sizeof *m);
    memcpy(swept_n, n, size * sizeof *n);
    lanes logarithm = sweep(rank, swept_m, column, &active) + sweep(rank, swept_n, column, &active);
    if (iteration == 0) {
      active &= -trace(rank, m) * trace(rank, swept_m) < largest_condition;
      active &= -trace(rank, n) * trace(rank, swept_n) < largest_condition;
    }
    lanes mu;
    for (int l = 0; l < 8; l++) mu[l] = exp2(-logarithm[l] / (double)(2 * rank));
    lanes change = average(rank, m, swept_n, mu, active);
    average(rank, n, swept_m, mu, active);
    // As in scalar.c, squared; a change of NaN or infinity ends the lane.
    integer_lanes stalled = (change < 1e-6) & (change > previous / 4);
    integer_lanes converged = (change < 1e-18) | stalled;
    found |= active & converged;
    active &= ~converged & (change < (lanes)INFINITY);
    previous = change;
  }
  store_triangles(count, rank, m, s);
  store_triangles(count, rank, n, inverse);
  unsigned bits = 0;
  for (size_t p = 0; p < count; p++) bits |= found[p] ? 1u << p : 0;
  return bits;
}

#pragma clang diagnostic pop
