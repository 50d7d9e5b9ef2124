// The kernels that read the same on every instruction set, over a few vector primitives.
//
// An ISA file defines, inside its target region and before it includes this file:
//
//   vec, LANES                       a vector of LANES floats
//   TILE_ROWS, TILE_VECS             the micro-kernel's block of C: rows × (TILE_VECS * LANES)
//   v_zero v_set v_load v_store v_load_partial v_store_partial v_add v_mul v_fma v_max v_div v_sum
//   v_maximum v_exp
//   decode(w, first, count, out)     flattened elements of W as fp32, any type, any position
//   panel_of_rows_4bit, panel_of_columns_4bit, unit_dot_4bit (see below)
//
// and after it the table. Everything is static: the compiler sees one file per ISA.
#pragma once

#include <math.h>
#include <string.h>

#include "quant_kernels.h"

#define INLINE static inline __attribute__((always_inline))

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

// Whether blocks and bytes end where 32 weights of a row do.
INLINE int in_units_of_32(const quant_matrix *w) {
  return w->type == QUANT_4BIT && w->columns % 32 == 0;
}

// --- C (+)= A B, B decoded a panel at a time ---
//
// B is W transposed (forward) or W (backward); PANEL columns of it and a slice of at most SLICE of
// the summation index are decoded into P[k][PANEL], which stays in the first-level cache while all
// rows of A pass. A row of C is summed over k in order, slice by slice: neither M nor the range of
// columns changes a bit of it.

enum {
  PANEL = TILE_VECS * LANES,
  // P is 16 KiB (AVX2) or 32 KiB (AVX-512).
  SLICE = 256,
  // Rows of A that pass while they are in the second-level cache: 384 * SLICE floats are 384 KiB.
  PASS = 384,
  // Columns that the backward product decodes at once: half a cache line of codes.
  GROUP = 64
};

_Static_assert(GROUP % PANEL == 0, "a group is whole panels");
_Static_assert(GROUP *SLICE <= QUANT_MATMUL_SCRATCH, "a group of decoded columns is the scratch");

// C[rows][PANEL] (+)= A[rows][depth] P[depth][PANEL]; the first `columns` columns are stored.
INLINE void tile(int rows, const float *a, size_t lda, const float *panel, size_t depth, float *c,
                 size_t ldc, size_t columns, int add) {
  vec sum[TILE_ROWS][TILE_VECS];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < TILE_VECS; j++) sum[i][j] = v_zero();
  }
#pragma clang loop unroll_count(2)
  for (size_t k = 0; k < depth; k++) {
    vec p[TILE_VECS];
#pragma clang loop unroll(full)
    for (int j = 0; j < TILE_VECS; j++) p[j] = v_load(panel + k * PANEL + j * LANES);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vec x = v_set(a[(size_t)i * lda + k]);
#pragma clang loop unroll(full)
      for (int j = 0; j < TILE_VECS; j++) sum[i][j] = v_fma(x, p[j], sum[i][j]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < TILE_VECS; j++) {
      size_t first = (size_t)j * LANES;
      float *out = c + (size_t)i * ldc + first;
      if (first + LANES <= columns) {
        v_store(out, add ? v_add(v_load(out), sum[i][j]) : sum[i][j]);
      } else if (first < columns) {
        size_t count = columns - first;
        v_store_partial(out, count, add ? v_add(v_load_partial(out, count), sum[i][j]) : sum[i][j]);
      }
    }
  }
}

static void multiply_panel(const float *a, size_t lda, size_t M, const float *panel, size_t depth,
                           float *c, size_t ldc, size_t columns, int add) {
  // Tiles of equal height: 8 rows are 4 + 4, for 6 + 2 would wait for the latency of few sums.
  size_t tiles = (M + TILE_ROWS - 1) / TILE_ROWS;
  for (size_t t = 0; t < tiles; t++) {
    size_t m = M * t / tiles, rows = M * (t + 1) / tiles - m;
    const float *at = a + m * lda;
    float *ct = c + m * ldc;
    switch (rows) {
#define CASE(n)                                            \
  case n:                                                  \
    tile(n, at, lda, panel, depth, ct, ldc, columns, add); \
    break;
      CASE(1)
      CASE(2)
      CASE(3)
      CASE(4)
      CASE(5)
      CASE(6)
#if TILE_MAX_ROWS == 8
      CASE(7)
      CASE(8)
#endif
#undef CASE
    }
  }
}

// P[k][i] = W[row + i][first + k] for i < PANEL, k < depth; rows from `rows` on are whatever.
static void panel_of_rows(const quant_matrix *w, size_t row, size_t rows, size_t first,
                          size_t depth, float *panel) {
  if (in_units_of_32(w)) {
    panel_of_rows_4bit(w, row, rows, first, depth, panel);
    return;
  }
  // A few columns at a time, so that the floats on their way stay in the first-level cache.
  enum { COLUMNS = 32 };
  float part[COLUMNS];
  for (size_t k = 0; k < depth; k += COLUMNS) {
    size_t count = smaller(COLUMNS, depth - k);
    for (size_t i = 0; i < PANEL; i++) {
      decode(w, (row + smaller(i, rows - 1)) * w->columns + first + k, count, part);
      for (size_t j = 0; j < count; j++) panel[(k + j) * PANEL + i] = part[j];
    }
  }
}

// GROUP / PANEL panels P[r][c] = W[row + r][column + c], one after the other; columns from `count`
// on are whatever.
static void panels_of_columns(const quant_matrix *w, size_t row, size_t depth, size_t column,
                              size_t count, float *panels) {
  int fast = in_units_of_32(w) && count == GROUP && column % 32 == 0;
  for (size_t r = 0; r < depth; r++) {
    float part[GROUP];
    size_t first = (row + r) * w->columns + column;
    if (fast) {
      group_4bit(w, first, part);
    } else {
      decode(w, first, count, part);
    }
    for (size_t p = 0; p < GROUP; p += PANEL) {
      float *out = panels + p * depth + r * PANEL;
      for (size_t c = 0; c < PANEL; c += LANES) v_store(out + c, v_load(part + p + c));
    }
  }
}

static void matmul(const quant_matrix *w, const float *x, size_t M, size_t ldx, size_t row_begin,
                   size_t row_end, float *y, size_t ldy, float *scratch) {
  size_t K = w->columns;
  if (K == 0) {
    for (size_t m = 0; m < M; m++) {
      for (size_t r = row_begin; r < row_end; r++) y[m * ldy + r] = 0;
    }
  }
  for (size_t k = 0; k < K; k += SLICE) {
    size_t depth = smaller(SLICE, K - k);
    for (size_t m = 0; m < M; m += PASS) {
      for (size_t r = row_begin; r < row_end; r += PANEL) {
        size_t rows = smaller(PANEL, row_end - r);
        panel_of_rows(w, r, rows, k, depth, scratch);
        multiply_panel(x + m * ldx + k, ldx, smaller(PASS, M - m), scratch, depth, y + m * ldy + r,
                       ldy, rows, k > 0);
      }
    }
  }
}

static void matmul_backward(const quant_matrix *w, const float *dy, size_t M, size_t ldy,
                            size_t col_begin, size_t col_end, float *dx, size_t ldx, int accumulate,
                            float *scratch) {
  size_t R = w->rows;
  if (R == 0 && !accumulate) {
    for (size_t m = 0; m < M; m++) {
      for (size_t k = col_begin; k < col_end; k++) dx[m * ldx + k] = 0;
    }
  }
  for (size_t r = 0; r < R; r += SLICE) {
    size_t depth = smaller(SLICE, R - r);
    for (size_t m = 0; m < M; m += PASS) {
      for (size_t k = col_begin; k < col_end; k += GROUP) {
        size_t count = smaller(GROUP, col_end - k);
        panels_of_columns(w, r, depth, k, count, scratch);
        for (size_t p = 0; p < count; p += PANEL) {
          multiply_panel(dy + m * ldy + r, ldy, smaller(PASS, M - m), scratch + p * depth, depth,
                         dx + m * ldx + k + p, ldx, smaller(PANEL, count - p), accumulate || r > 0);
        }
      }
    }
  }
}

// --- Vectors ---

static float dot(const float *x, const float *y, size_t n) {
  // Four sums: a fused multiply-add takes four cycles, and two start in each.
  enum { SUMS = 8 };
  vec sum[SUMS];
#pragma clang loop unroll(full)
  for (int j = 0; j < SUMS; j++) sum[j] = v_zero();
  size_t i = 0;
  for (; i + SUMS * LANES <= n; i += SUMS * LANES) {
#pragma clang loop unroll(full)
    for (int j = 0; j < SUMS; j++) {
      sum[j] = v_fma(v_load(x + i + j * LANES), v_load(y + i + j * LANES), sum[j]);
    }
  }
  for (; i + LANES <= n; i += LANES) sum[0] = v_fma(v_load(x + i), v_load(y + i), sum[0]);
  if (i < n) {
    sum[1] = v_fma(v_load_partial(x + i, n - i), v_load_partial(y + i, n - i), sum[1]);
  }
#pragma clang loop unroll(full)
  for (int width = SUMS / 2; width > 0; width /= 2) {
#pragma clang loop unroll(full)
    for (int j = 0; j < width; j++) sum[j] = v_add(sum[j], sum[j + width]);
  }
  return v_sum(sum[0]);
}

// Runs `body` with `i`, the index of LANES elements, and LOAD and STORE of them; the last may be
// fewer.
#define FOR_EACH_VECTOR(n, body)           \
  do {                                     \
    size_t i = 0;                          \
    for (; i + LANES <= (n); i += LANES) { \
      body(v_load, v_store)                \
    }                                      \
    if (i < (n)) {                         \
      size_t rest = (n)-i;                 \
      body(LOAD_REST, STORE_REST)          \
    }                                      \
  } while (0)
#define LOAD_REST(p) v_load_partial(p, rest)
#define STORE_REST(p, v) v_store_partial(p, rest, v)

static void axpy(float a, const float *x, size_t n, float *y) {
  vec scale = v_set(a);
#define BODY(load, store) store(y + i, v_fma(scale, load(x + i), load(y + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static float softmax(float *x, size_t n, float scale) {
  vec s = v_set(scale), largest = v_set(-INFINITY);
  size_t whole = n - n % LANES;
  for (size_t i = 0; i < whole; i += LANES) largest = v_max(largest, v_mul(s, v_load(x + i)));
  float top = v_maximum(largest);
  for (size_t i = whole; i < n; i++) top = fmaxf(top, scale * x[i]);

  vec shift = v_set(-top), sums = v_zero();
  // The lanes past the end are zeros, and would add exp(-top).
  float tail = 0;
#define BODY(load, store)                             \
  vec e = v_exp(v_add(v_mul(s, load(x + i)), shift)); \
  store(x + i, e);                                    \
  if (i < whole) sums = v_add(sums, e);
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  for (size_t i = whole; i < n; i++) tail += x[i];
  float sum = v_sum(sums) + tail;

  vec reciprocal = v_set(1 / sum);
#define BODY(load, store) store(x + i, v_mul(load(x + i), reciprocal));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  return top + logf(sum);
}

// 1 / (1 + exp(-x))
INLINE vec v_sigmoid(vec x) { return v_div(v_set(1), v_add(v_set(1), v_exp(v_mul(v_set(-1), x)))); }

static void swiglu(const float *gate, const float *up, size_t n, float *h) {
#define BODY(load, store) \
  vec g = load(gate + i); \
  store(h + i, v_mul(v_mul(g, v_sigmoid(g)), load(up + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void swiglu_backward(const float *gate, const float *up, const float *dh, size_t n,
                            float *dgate, float *dup) {
  vec one = v_set(1), minus = v_set(-1);
  // silu'(g) = sigmoid(g) (1 + g (1 - sigmoid(g)))
#define BODY(load, store)                                                             \
  vec g = load(gate + i), u = load(up + i), d = load(dh + i), sigmoid = v_sigmoid(g); \
  vec slope = v_mul(sigmoid, v_fma(g, v_fma(minus, sigmoid, one), one));              \
  store(dgate + i, v_mul(v_mul(d, u), slope));                                        \
  store(dup + i, v_mul(d, v_mul(g, sigmoid)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static float rmsnorm(const float *x, const float *weight, size_t n, float epsilon, float *y) {
  float scale = 1 / sqrtf(dot(x, x, n) / (float)n + epsilon);
  vec s = v_set(scale);
#define BODY(load, store) store(y + i, v_mul(v_mul(load(x + i), s), load(weight + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  return scale;
}

// --- Matrix × vector ---

// Codes of a byte are two neighbours: the high nibble's weight is even, the low one's odd. So x is
// parted into even and odd elements first, and a vector of bytes gives two vectors of indices.
static void matvec_4bit(const quant_matrix *w, const float *x, size_t row_begin, size_t row_end,
                        float *y) {
  enum { PART = 4096 };  // 16 KiB of x, parted
  _Alignas(64) float even[PART / 2], odd[PART / 2];
  size_t K = w->columns;
  int shift = __builtin_ctzll(w->block_size);
  for (size_t k = 0; k < K; k += PART) {
    size_t count = smaller(PART, K - k);
    for (size_t i = 0; i < count / 2; i++) {
      even[i] = x[k + 2 * i];
      odd[i] = x[k + 2 * i + 1];
    }
    codebook_4bit codebook = load_codebook(w->codebook);
    for (size_t r = row_begin; r < row_end; r++) {
      size_t first = r * K + k;
      const uint8_t *codes = (const uint8_t *)w->data + first / 2;
      vec sum = v_zero();
      // The scale of a block is applied once to the sum of 64 products (32 where K is no multiple).
      size_t i = 0;
      if (K % 64 == 0) {
        for (; i < count; i += 64) {
          vec part = unit_dot_4bit(64, codes + i / 2, even + i / 2, odd + i / 2, codebook);
          sum = v_fma(v_set(w->absmax[(first + i) >> shift]), part, sum);
        }
      }
      for (; i < count; i += 32) {
        vec part = unit_dot_4bit(32, codes + i / 2, even + i / 2, odd + i / 2, codebook);
        sum = v_fma(v_set(w->absmax[(first + i) >> shift]), part, sum);
      }
      y[r] = (k > 0 ? y[r] : 0) + v_sum(sum);
    }
  }
  if (K == 0) {
    for (size_t r = row_begin; r < row_end; r++) y[r] = 0;
  }
}

static void matvec(const quant_matrix *w, const float *x, size_t row_begin, size_t row_end,
                   float *y) {
  if (in_units_of_32(w)) {
    matvec_4bit(w, x, row_begin, row_end, y);
    return;
  }
  enum { PART = 512 };
  float part[PART];
  for (size_t r = row_begin; r < row_end; r++) {
    size_t first = r * w->columns;
    if (w->type == QUANT_F32) {
      y[r] = dot((const float *)w->data + first, x, w->columns);
      continue;
    }
    float sum = 0;
    for (size_t k = 0; k < w->columns; k += PART) {
      size_t count = smaller(PART, w->columns - k);
      decode(w, first + k, count, part);
      sum += dot(part, x + k, count);
    }
    y[r] = sum;
  }
}
