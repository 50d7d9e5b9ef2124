// Products with low-rank factors of any type, each converted once for the rows of a tile.
//
// An element of U is one vector of sums over the inputs, LANES apart, added across its lanes in the
// end; an element of U Bᵀ is summed in the order of ranks. Neither how many rows a call has, nor
// where ranges are cut, changes a bit of it.
#pragma once

#include "vector_kernels.h"

// LANES elements of a factor, from element i; those `ahead` of them are fetched, for factors come
// from memory where rows are few.
INLINE vec factor_elements(const void *factor, quant_factor_type type, size_t i, size_t ahead) {
  size_t size = type == QUANT_FACTOR_I8 ? sizeof(int8_t) : sizeof(float);
  __builtin_prefetch((const char *)factor + (i + ahead) * size, 0, 2);
  return type == QUANT_FACTOR_I8 ? f32_of_i8((const int8_t *)factor + i)
                                 : v_load((const float *)factor + i);
}

// What a tile works on: rows of X from x, ranks from `first`.
typedef struct {
  const quant_low_rank *term;
  const float *x;
  size_t ldx, first;
  float *u;
  size_t ldu;
} down_arguments;

// u[i * ldu + j] = X's row i · A's row first + j, times the scale of bytes.
INLINE void down_tile(int rows, int ranks, quant_factor_type type, const down_arguments *t) {
  const void *a = t->term->a;
  size_t inputs = t->term->inputs, stride = quant_low_rank_stride(inputs), ldx = t->ldx;
  size_t first = t->first * stride, ahead = (size_t)ranks * stride;
  const float *x = t->x;
  vec sum[TILE_ROWS][8];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < ranks; j++) sum[i][j] = v_zero();
  }
#define STEP(load)                                                          \
  vec f[8];                                                                 \
  _Pragma("clang loop unroll(full)") for (int j = 0; j < ranks; j++) {      \
    f[j] = factor_elements(a, type, first + (size_t)j * stride + k, ahead); \
  }                                                                         \
  _Pragma("clang loop unroll(full)") for (int i = 0; i < rows; i++) {       \
    vec input = load(x + (size_t)i * ldx + k);                              \
    _Pragma("clang loop unroll(full)") for (int j = 0; j < ranks; j++) {    \
      sum[i][j] = v_fma(input, f[j], sum[i][j]);                            \
    }                                                                       \
  }
#define LOAD_LAST(p) v_load_partial(p, inputs - k)
  size_t k = 0;
  for (; k + LANES <= inputs; k += LANES) {
    STEP(v_load)
  }
  if (k < inputs) {
    STEP(LOAD_LAST)
  }
#undef STEP
#undef LOAD_LAST
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < ranks; j++) {
      size_t r = t->first + (size_t)j;
      float scale = type == QUANT_FACTOR_I8 ? t->term->scales[r] : 1;
      t->u[(size_t)i * t->ldu + r] = scale * v_sum(sum[i][j]);
    }
  }
}

// Ranks of a tile so high: 4 × 4 sums where there are 32 registers, 2 × 4 where there are 16; a few
// rows want as many sums as hide the latency of an addition.
#define DOWN_ROWS (TILE_ROWS * TILE_VECS > 12 ? 4 : 2)
#define DOWN_RANKS(height) ((height)*8 <= DOWN_ROWS * 4 ? 8 : 4)

INLINE void down_ranks(int rows, quant_factor_type type, down_arguments *t, size_t end) {
  for (; t->first + DOWN_RANKS(rows) <= end; t->first += DOWN_RANKS(rows)) {
    down_tile(rows, DOWN_RANKS(rows), type, t);
  }
  for (; t->first + 4 <= end; t->first += 4) down_tile(rows, 4, type, t);
  for (; t->first < end; t->first++) down_tile(rows, 1, type, t);
}

// One function a height and a type, as with `tile`.
#define DOWN(type, n) \
  static void down_##type##_##n(down_arguments *t, size_t end) { down_ranks(n, type, t, end); }
#define DOWNS(type) DOWN(type, 1) DOWN(type, 2) DOWN(type, 3) DOWN(type, 4)
DOWNS(QUANT_FACTOR_F32)
DOWNS(QUANT_FACTOR_I8)
#undef DOWN
#undef DOWNS
#define HEIGHTS(type) [type] = {down_##type##_1, down_##type##_2, down_##type##_3, down_##type##_4}
static void (*const down_heights[][4])(down_arguments *, size_t) = {HEIGHTS(QUANT_FACTOR_F32),
                                                                    HEIGHTS(QUANT_FACTOR_I8)};
#undef HEIGHTS

static void low_rank_down(const quant_low_rank *term, const float *x, size_t ldx, size_t rows,
                          size_t rank_begin, size_t rank_end, float *u, size_t ldu) {
  // Ranks that stay in the second-level cache while the rows pass: 512 KiB at 8192 inputs.
  enum { RANKS = 32 };
  for (size_t r = rank_begin; r < rank_end; r += RANKS) {
    for (size_t m = 0; m < rows; m += DOWN_ROWS) {
      down_arguments t = {term, x + m * ldx, ldx, r, u + m * ldu, ldu};
      down_heights[term->type][smaller(DOWN_ROWS, rows - m) - 1](&t, smaller(r + RANKS, rank_end));
    }
  }
}

// What a tile works on: rows of U from u, columns of Y from `first`, which begins a vector.
typedef struct {
  const quant_low_rank *term;
  const float *u;
  size_t ldu;
  float *y;
  size_t ldy, first, end;
} up_arguments;

// Y[rows][vecs * LANES] += scale U Bᵀ, columns beyond `end` left out.
INLINE void up_tile(int rows, int vecs, quant_factor_type type, const up_arguments *t) {
  enum { WIDTH = QUANT_LOW_RANK_PANEL, MOST = TILE_ROWS * TILE_VECS };
  size_t rank = t->term->rank, ldu = t->ldu, first = t->first;
  const void *b = t->term->b;
  const float *u = t->u;
  vec sum[TILE_ROWS][MOST];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < vecs; j++) sum[i][j] = v_zero();
  }
  size_t begin = first / WIDTH * WIDTH * rank + first % WIDTH;
  for (size_t r = 0; r < rank; r++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < vecs; j++) {
      size_t column = (size_t)j * LANES;
      size_t i = begin + column / WIDTH * WIDTH * rank + r * WIDTH + column % WIDTH;
      vec f = factor_elements(b, type, i, (size_t)vecs * LANES * rank);
#pragma clang loop unroll(full)
      for (int m = 0; m < rows; m++) {
        sum[m][j] = v_fma(v_set(u[(size_t)m * ldu + r]), f, sum[m][j]);
      }
    }
  }
  vec scale = v_set(t->term->scale);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < vecs; j++) {
      size_t column = first + (size_t)j * LANES;
      float *out = t->y + (size_t)m * t->ldy + column;
      if (column + LANES <= t->end) {
        v_store(out, v_fma(scale, sum[m][j], v_load(out)));
      } else if (column < t->end) {
        size_t count = t->end - column;
        v_store_partial(out, count, v_fma(scale, sum[m][j], v_load_partial(out, count)));
      }
    }
  }
}

// As many vectors as there are registers for the sums, but 8 at most: whole panels, or parts of
// one.
#define UP_FITS(height, vecs) ((height) * (vecs) <= TILE_ROWS * TILE_VECS)
#define UP_VECS(height) (UP_FITS(height, 8) ? 8 : UP_FITS(height, 4) ? 4 : TILE_VECS)

INLINE void up_columns(int rows, quant_factor_type type, up_arguments *t) {
  size_t wide = (size_t)UP_VECS(rows) * LANES, narrow = (size_t)TILE_VECS * LANES;
  for (; t->first + wide <= t->end; t->first += wide) up_tile(rows, UP_VECS(rows), type, t);
  for (; t->first < t->end; t->first += narrow) up_tile(rows, TILE_VECS, type, t);
}

#define UP(type, n) \
  static void up_##type##_##n(up_arguments *t) { up_columns(n, type, t); }
#if TILE_ROWS == 8
#define UPS(type) \
  UP(type, 1) UP(type, 2) UP(type, 3) UP(type, 4) UP(type, 5) UP(type, 6) UP(type, 7) UP(type, 8)
#define HEIGHTS(type)                                                   \
  [type] = {up_##type##_1, up_##type##_2, up_##type##_3, up_##type##_4, \
            up_##type##_5, up_##type##_6, up_##type##_7, up_##type##_8}
#else
#define UPS(type) UP(type, 1) UP(type, 2) UP(type, 3) UP(type, 4) UP(type, 5) UP(type, 6)
#define HEIGHTS(type)                                    \
  [type] = {up_##type##_1, up_##type##_2, up_##type##_3, \
            up_##type##_4, up_##type##_5, up_##type##_6}
#endif
UPS(QUANT_FACTOR_F32)
UPS(QUANT_FACTOR_I8)
static void (*const up_heights[][TILE_ROWS])(up_arguments *) = {HEIGHTS(QUANT_FACTOR_F32),
                                                                HEIGHTS(QUANT_FACTOR_I8)};
#undef UP
#undef UPS
#undef HEIGHTS

static void low_rank_up(const quant_low_rank *term, const float *u, size_t ldu, size_t rows,
                        size_t output_begin, size_t output_end, float *y, size_t ldy) {
  // Columns whose factors stay in the first-level cache, up to a rank of 64, while the rows pass.
  enum { COLUMNS = 128 };
  // Tiles of equal height, as multiply_heights has them.
  size_t tile_count = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (size_t o = output_begin; o < output_end; o += COLUMNS) {
    for (size_t i = 0; i < tile_count; i++) {
      size_t m = rows * i / tile_count, height = rows * (i + 1) / tile_count - m;
      up_arguments t = {
          term, u + m * ldu, ldu, y + m * ldy, ldy, o, smaller(o + COLUMNS, output_end)};
      up_heights[term->type][height - 1](&t);
    }
  }
}
