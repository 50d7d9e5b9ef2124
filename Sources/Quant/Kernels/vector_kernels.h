// The kernels that read the same on every instruction set, over a few vector primitives.
//
// An ISA file defines, inside its target region and before it includes this file:
//
//   vec, LANES          a vector of LANES floats, and v_zero, v_set, v_load, …
//   vec16               LANES 16-bit floats, their loads, stores and conversions
//   TILE_ROWS, TILE_VECS  the block of C that the registers hold: rows × (TILE_VECS * LANES)
//   codebook_4bit       16 values in registers, and look-ups
//   word                LANES 32-bit words, each 8 codes
//   dot_table, dot_32   32 weights times x, whose even and odd elements are parted in runs of RUN
//   v_max_magnitude     of the bits of |x|, so that NaN is the largest, and v_largest_magnitude
//   boundaries          of the quantizer, interval_codes of what is between them, and quantize_64
//
// and after it the table. Everything is static: the compiler sees one file per ISA.
#pragma once

#include <math.h>
#include <string.h>

#include "quant_kernels.h"

#define INLINE static inline __attribute__((always_inline))

INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

// --- 16-bit floats ---

#define FROM_16_BITS(name, convert)                             \
  static void name(const uint16_t *x, size_t n, float *out) {   \
    size_t i = 0;                                               \
    for (; i + LANES <= n; i += LANES) {                        \
      v_store(out + i, convert(v16_load(x + i)));               \
    }                                                           \
    if (i < n) {                                                \
      uint16_t rest[LANES] = {0};                               \
      memcpy(rest, x + i, (n - i) * sizeof *x);                 \
      v_store_partial(out + i, n - i, convert(v16_load(rest))); \
    }                                                           \
  }
#define TO_16_BITS(name, convert)                             \
  static void name(const float *x, size_t n, uint16_t *out) { \
    size_t i = 0;                                             \
    for (; i + LANES <= n; i += LANES) {                      \
      v16_store(out + i, convert(v_load(x + i)));             \
    }                                                         \
    if (i < n) {                                              \
      uint16_t rest[LANES];                                   \
      v16_store(rest, convert(v_load_partial(x + i, n - i))); \
      memcpy(out + i, rest, (n - i) * sizeof *out);           \
    }                                                         \
  }
FROM_16_BITS(f32_from_f16, f32_of_f16)
FROM_16_BITS(f32_from_bf16, f32_of_bf16)
TO_16_BITS(f16_from_f32, f16_of_f32)
TO_16_BITS(bf16_from_f32, bf16_of_f32)
#undef FROM_16_BITS
#undef TO_16_BITS

static void i8_from_f32(const float *x, size_t n, float scale, int8_t *out) {
  vec factor = v_set(scale);
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) i8_store(out + i, v_mul(v_load(x + i), factor));
  if (i < n) {
    int8_t rest[LANES];
    i8_store(rest, v_mul(v_load_partial(x + i, n - i), factor));
    memcpy(out + i, rest, n - i);
  }
}

static void saturated_f16_from_f32(const float *x, size_t n, uint16_t *out) {
  enum { PART = 512 };
  float part[PART];
  for (size_t i = 0; i < n; i += PART) {
    size_t count = smaller(PART, n - i);
    for (size_t j = 0; j < count; j++) {
      float value = x[i + j];
      float bounded = value > 65504 ? 65504 : value < -65504 ? -65504 : value;
      part[j] = isinf(value) ? value : bounded;
    }
    f16_from_f32(part, count, out + i);
  }
}

// --- Decoding ---

// The scale is constant in a block, so the 16 values are multiplied by it, not the weights.
static void decode_4bit(const quant_matrix *w, size_t first, size_t count, float *out) {
  const uint8_t *codes = w->data;
  codebook_4bit codebook = load_codebook(w->codebook);
  size_t end = first + count;
  while (first < end) {
    size_t block = first / w->block_size;
    size_t stop = smaller((block + 1) * w->block_size, end);
    float scale = w->absmax[block];
    codebook_4bit values = scaled(codebook, scale);
    if (first % 2) *out++ = w->codebook[codes[first++ / 2] & 15] * scale;
    for (; first + LANES <= stop; first += LANES, out += LANES) {
      v_store(out, look_up_neighbours(values, codes + first / 2));
    }
    if (first < stop) {
      uint8_t rest[LANES / 2] = {0};
      memcpy(rest, codes + first / 2, (stop - first + 1) / 2);
      v_store_partial(out, stop - first, look_up_neighbours(values, rest));
      out += stop - first;
      first = stop;
    }
  }
}

// Elements `first` ..< `first` + `count` of the flattened matrix.
static void decode(const quant_matrix *w, size_t first, size_t count, float *out) {
  switch (w->type) {
    case QUANT_F32:
      memcpy(out, (const float *)w->data + first, count * sizeof *out);
      break;
    case QUANT_F16:
      f32_from_f16((const uint16_t *)w->data + first, count, out);
      break;
    case QUANT_BF16:
      f32_from_bf16((const uint16_t *)w->data + first, count, out);
      break;
    case QUANT_4BIT:
      decode_4bit(w, first, count, out);
      break;
  }
}

static void dequantize_f32(const quant_matrix *w, size_t first, size_t count, float *out) {
  decode(w, first, count, out);
}

static void dequantize_bf16(const quant_matrix *w, size_t first, size_t count, uint16_t *out) {
  enum { PART = 512 };
  float part[PART];
  for (size_t i = 0; i < count; i += PART) {
    size_t n = smaller(PART, count - i);
    decode(w, first + i, n, part);
    bf16_from_f32(part, n, out + i);
  }
}

// --- Quantization ---

// The largest magnitude; not finite if one is not.
INLINE float largest_magnitude(const float *x, size_t n) {
  vec top = v_zero();
  for (size_t i = 0; i < n; i += LANES) top = v_max_magnitude(top, v_load(x + i));
  return v_largest_magnitude(top);
}

static void quantize(const float *x, size_t n, size_t block_size, const float *midpoints,
                     const uint8_t *order, uint8_t *packed, float *absmax) {
  // The scales of a few blocks come first: one after the other they would wait for the latency of
  // the maximum and the division. BATCH floats stay in the first-level cache, and while they are
  // quantized, the next ones are fetched: the processor would not, between two passes.
  enum { BATCH = 2048, SMALLEST_BLOCK = 64 };
  float reciprocals[BATCH / SMALLEST_BLOCK];
  size_t batch = block_size < BATCH ? BATCH / block_size : 1, whole = n / block_size;
  boundaries b = load_boundaries(midpoints);
  interval_codes codes = load_codes(order);
  for (size_t first = 0; first < whole; first += batch) {
    size_t end = smaller(first + batch, whole);
    for (size_t i = first; i < end; i++) {
      absmax[i] = largest_magnitude(x + i * block_size, block_size);
    }
    for (size_t i = first; i < end; i++) {
      reciprocals[i - first] = 1 / (absmax[i] < 1e-38f ? 1e-38f : absmax[i]);
    }
    for (size_t i = first; i < end; i++) {
      const float *block = x + i * block_size;
      uint8_t *out = packed + i * block_size / 2;
      if (!(absmax[i] < INFINITY)) {
        // quantize_64 takes finite numbers, and such blocks need not be fast.
        quant_kernels_scalar.quantize(block, block_size, block_size, midpoints, order, out,
                                      absmax + i);
        continue;
      }
      vec reciprocal = v_set(reciprocals[i - first]);
      for (size_t k = 0; k < block_size; k += 64) {
        for (int line = 0; line < 4; line++) __builtin_prefetch(block + k + BATCH + 16 * line);
        quantize_64(b, codes, block + k, reciprocal, out + k / 2);
      }
    }
  }
  size_t begin = whole * block_size;
  if (begin < n) {
    // A short block has rules of its own, and there is one in a tensor at most.
    quant_kernels_scalar.quantize(x + begin, n - begin, block_size, midpoints, order,
                                  packed + begin / 2, absmax + whole);
  }
}

// --- C (+)= A B, B decoded a panel at a time ---
//
// B is W transposed (forward) or W (backward). A slice of the summation index, at most SLICE long,
// is taken of both: A's is copied to where its rows lie SLICE apart (in place they may be a power
// of two apart, and evict each other), and PANEL columns of B at a time are decoded into
// P[k][PANEL], which stays in the first-level cache while the rows of A pass. An element of C is
// summed over k in order, slice by slice: neither M nor the range of columns changes a bit of it.

enum {
  PANEL = TILE_VECS * LANES,
  // P is 16 KiB (AVX2, NEON) or 32 KiB (AVX-512).
  SLICE = 256,
  // Rows of A at a time: 384 * SLICE floats are 384 KiB, and stay in the second-level cache.
  PASS = 384,
  // Columns that the backward product decodes at once: half a cache line of codes.
  GROUP = 64
};

_Static_assert(GROUP % PANEL == 0, "a group is whole panels");
_Static_assert((PASS + GROUP) * SLICE <= QUANT_MATMUL_SCRATCH, "A's slice and a group fit");

// What a tile works on: C[rows][width] (+)= A[rows][depth] P[depth][width], A's rows lda apart; the
// first `columns` columns are stored.
typedef struct {
  const float *a;
  size_t lda;
  const float *panel;
  size_t depth;
  float *c;
  size_t ldc, columns;
  int add;
} tile_arguments;

// The width is `vecs` vectors; constants for `rows`, `vecs` and, where it is SLICE, for `lda`.
INLINE void tile(int rows, int vecs, size_t lda, const tile_arguments *t) {
  const float *a = t->a, *panel = t->panel;
  size_t depth = t->depth, ldc = t->ldc, columns = t->columns;
  float *c = t->c;
  int add = t->add;
  vec sum[TILE_ROWS][TILE_VECS];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
    __builtin_prefetch(c + (size_t)i * ldc, 1);
#pragma clang loop unroll(full)
    for (int j = 0; j < vecs; j++) sum[i][j] = v_zero();
  }
#pragma clang loop unroll_count(4)
  for (size_t k = 0; k < depth; k++) {
    vec p[TILE_VECS];
#pragma clang loop unroll(full)
    for (int j = 0; j < vecs; j++)
      p[j] = v_load(panel + k * (size_t)vecs * LANES + (size_t)j * LANES);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      vec x = v_set(a[(size_t)i * lda + k]);
#pragma clang loop unroll(full)
      for (int j = 0; j < vecs; j++) sum[i][j] = v_fma(x, p[j], sum[i][j]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < vecs; j++) {
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

// One function a height: in one body the compiler runs out of registers. Of A that was copied, of A
// in place, and of A in place times a panel that is one vector wide.
#define TILE(n)                                                                      \
  static __attribute__((noinline)) void tile_##n(const tile_arguments *t) {          \
    tile(n, TILE_VECS, SLICE, t);                                                    \
  }                                                                                  \
  static __attribute__((noinline)) void tile_in_place_##n(const tile_arguments *t) { \
    tile(n, TILE_VECS, t->lda, t);                                                   \
  }                                                                                  \
  static __attribute__((noinline)) void tile_narrow_##n(const tile_arguments *t) {   \
    tile(n, 1, t->lda, t);                                                           \
  }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
#if TILE_ROWS == 8
TILE(7)
TILE(8)
#define TILES(kind) \
  { kind##1, kind##2, kind##3, kind##4, kind##5, kind##6, kind##7, kind##8 }
#else
#define TILES(kind) \
  { kind##1, kind##2, kind##3, kind##4, kind##5, kind##6 }
#endif
typedef void (*const tile_heights[TILE_ROWS])(const tile_arguments *);
static tile_heights tiles = TILES(tile_), tiles_in_place = TILES(tile_in_place_),
                    tiles_narrow = TILES(tile_narrow_);
#undef TILES
#undef TILE

// The same for M rows, by tiles of equal height: 8 rows are 4 + 4, for 6 + 2 would wait for the
// latency of few sums.
INLINE void multiply_heights(tile_heights heights, size_t M, tile_arguments t) {
  const float *a = t.a;
  float *c = t.c;
  size_t count = (M + TILE_ROWS - 1) / TILE_ROWS;
  for (size_t i = 0; i < count; i++) {
    size_t m = M * i / count, rows = M * (i + 1) / count - m;
    t.a = a + m * t.lda;
    t.c = c + m * t.ldc;
    heights[rows - 1](&t);
  }
}

// C[M][columns] (+)= A[M][depth] P[depth][PANEL], A's rows SLICE apart.
static void multiply_panel(const float *a, size_t M, const float *panel, size_t depth, float *c,
                           size_t ldc, size_t columns, int add) {
  multiply_heights(tiles, M, (tile_arguments){a, SLICE, panel, depth, c, ldc, columns, add});
}

static void copy_slice(const float *a, size_t lda, size_t M, size_t depth, float *out) {
  for (size_t m = 0; m < M; m++) memcpy(out + m * SLICE, a + m * lda, depth * sizeof *a);
}

// Whether blocks and bytes end where 32 weights of a row do.
INLINE int in_units_of_32(const quant_matrix *w) {
  return w->type == QUANT_4BIT && w->columns % 32 == 0;
}

// 4 columns of LANES rows, at rows[i], to out + column * stride: a vector a column.
INLINE void transpose_4(const float *const rows[LANES], float *out, size_t stride) {
  const uint8_t *bytes[LANES];
#pragma clang loop unroll(full)
  for (int i = 0; i < LANES; i++) bytes[i] = (const uint8_t *)rows[i];
  word columns[4];
  load_words(bytes, columns);
#pragma clang loop unroll(full)
  for (size_t j = 0; j < 4; j++) memcpy(out + j * stride, &columns[j], sizeof columns[j]);
}

// out[c * stride + r] = in[r * ld + c] for r < rows, c < columns.
static void transpose(const float *in, size_t ld, size_t rows, size_t columns, float *out,
                      size_t stride) {
  size_t r = 0, whole = columns / 4 * 4;
  for (; r + LANES <= rows; r += LANES) {
    for (size_t c = 0; c < whole; c += 4) {
      const float *from[LANES];
      for (size_t i = 0; i < LANES; i++) from[i] = in + (r + i) * ld + c;
      transpose_4(from, out + c * stride + r, stride);
    }
    for (size_t c = whole; c < columns; c++) {
      for (size_t i = 0; i < LANES; i++) out[c * stride + r + i] = in[(r + i) * ld + c];
    }
  }
  for (; r < rows; r++) {
    for (size_t c = 0; c < columns; c++) out[c * stride + r] = in[r * ld + c];
  }
}

// P[k][i] = W[row + i][first + k] for i < rows, k < depth, and zeros beyond: what the scratch held
// before may be integers, which read as floats are denormal and slow.
static void panel_of_rows(const quant_matrix *w, size_t row, size_t rows, size_t first,
                          size_t depth, float *panel) {
  if (rows < PANEL) memset(panel, 0, depth * PANEL * sizeof *panel);
  if (w->type == QUANT_F32) {
    const float *weights = (const float *)w->data + row * w->columns + first;
    transpose(weights, w->columns, rows, depth, panel, PANEL);
    return;
  }
  // A few columns at a time, so that the floats on their way stay in the first-level cache.
  enum { COLUMNS = 32 };
  float part[PANEL * COLUMNS];
  for (size_t k = 0; k < depth; k += COLUMNS) {
    size_t count = smaller(COLUMNS, depth - k);
    for (size_t i = 0; i < rows; i++) {
      decode(w, (row + i) * w->columns + first + k, count, part + i * COLUMNS);
    }
    transpose(part, COLUMNS, rows, count, panel + k * PANEL, PANEL);
  }
}

// The same where `in_units_of_32`. Lanes are rows: 16 bytes of each are transposed as 32-bit words,
// and a word's 8 nibbles are 8 columns.
static void panel_of_rows_4bit(const quant_matrix *w, size_t row, size_t rows, size_t first,
                               size_t depth, float *panel) {
  codebook_4bit codebook = load_codebook(w->codebook);
  int shift = __builtin_ctzll(w->block_size);
  for (size_t group = 0; group < PANEL; group += LANES) {
    size_t begin[LANES];
    for (size_t i = 0; i < LANES; i++) {
      begin[i] = (row + smaller(group + i, rows - 1)) * w->columns + first;
    }
    for (size_t k = 0; k < depth; k += 32) {
      float scales[LANES];
      const uint8_t *codes[LANES];
      for (size_t i = 0; i < LANES; i++) {
        scales[i] = w->absmax[(begin[i] + k) >> shift];
        codes[i] = (const uint8_t *)w->data + (begin[i] + k) / 2;
      }
      vec scale = v_load(scales);
      word words[4];
      load_words(codes, words);
      float *out = panel + k * PANEL + group;
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++) {
#pragma clang loop unroll(full)
        for (int n = 0; n < 8; n++) {
          // The high nibble of a byte is the first.
          vec value = look_up_at(codebook, words[j], 4 * (n ^ 1));
          v_store(out + (8 * j + n) * PANEL, v_mul(value, scale));
        }
      }
    }
  }
}

// GROUP / PANEL panels P[r][c] = W[row + r][column + c], one after the other; what is beyond
// `count` columns does not matter.
static void panels_of_columns(const quant_matrix *w, size_t row, size_t depth, size_t column,
                              size_t count, float *panels) {
  int whole = in_units_of_32(w) && count == GROUP && column % 32 == 0;
  int shift = whole ? __builtin_ctzll(w->block_size) : 0;
  for (size_t r = 0; r < depth; r++) {
    size_t first = (row + r) * w->columns + column;
    if (!whole) {
      float part[GROUP] = {0};
      decode(w, first, count, part);
      for (size_t p = 0; p < GROUP; p += PANEL) {
        memcpy(panels + p * depth + r * PANEL, part + p, PANEL * sizeof *part);
      }
      continue;
    }
    codebook_4bit codebook = load_codebook(w->codebook);
    const uint8_t *codes = (const uint8_t *)w->data + first / 2;
#pragma clang loop unroll(full)
    for (size_t c = 0; c < GROUP; c += LANES) {
      codebook_4bit values = scaled(codebook, w->absmax[(first + c / 32 * 32) >> shift]);
      v_store(panels + c / PANEL * PANEL * depth + r * PANEL + c % PANEL,
              look_up_neighbours(values, codes + c / 2));
    }
  }
}

static void matmul(const quant_matrix *w, const float *x, size_t M, size_t ldx, size_t row_begin,
                   size_t row_end, float *y, size_t ldy, int accumulate, float *scratch) {
  size_t K = w->columns;
  float *panel = scratch + PASS * SLICE;
  if (K == 0 && !accumulate) {
    for (size_t m = 0; m < M; m++) {
      for (size_t r = row_begin; r < row_end; r++) y[m * ldy + r] = 0;
    }
  }
  for (size_t k = 0; k < K; k += SLICE) {
    size_t depth = smaller(SLICE, K - k);
    for (size_t m = 0; m < M; m += PASS) {
      size_t height = smaller(PASS, M - m);
      copy_slice(x + m * ldx + k, ldx, height, depth, scratch);
      for (size_t r = row_begin; r < row_end; r += PANEL) {
        size_t rows = smaller(PANEL, row_end - r);
        if (in_units_of_32(w)) {
          panel_of_rows_4bit(w, r, rows, k, depth, panel);
        } else {
          panel_of_rows(w, r, rows, k, depth, panel);
        }
        multiply_panel(scratch, height, panel, depth, y + m * ldy + r, ldy, rows,
                       k > 0 || accumulate);
      }
    }
  }
}

static void matmul_backward(const quant_matrix *w, const float *dy, size_t M, size_t ldy,
                            size_t col_begin, size_t col_end, float *dx, size_t ldx, int accumulate,
                            float *scratch) {
  size_t R = w->rows;
  float *panels = scratch + PASS * SLICE;
  if (R == 0 && !accumulate) {
    for (size_t m = 0; m < M; m++) {
      for (size_t k = col_begin; k < col_end; k++) dx[m * ldx + k] = 0;
    }
  }
  for (size_t r = 0; r < R; r += SLICE) {
    size_t depth = smaller(SLICE, R - r);
    for (size_t m = 0; m < M; m += PASS) {
      size_t height = smaller(PASS, M - m);
      copy_slice(dy + m * ldy + r, ldy, height, depth, scratch);
      for (size_t k = col_begin; k < col_end; k += GROUP) {
        size_t count = smaller(GROUP, col_end - k);
        panels_of_columns(w, r, depth, k, count, panels);
        for (size_t p = 0; p < count; p += PANEL) {
          multiply_panel(scratch, height, panels + p * depth, depth, dx + m * ldx + k + p, ldx,
                         smaller(PANEL, count - p), accumulate || r > 0);
        }
      }
    }
  }
}

#include "vector_operations.h"

// --- Matrix × vector ---

// A byte's codes are neighbours, the even one in the high nibble, and come apart into different
// vectors; so x is parted the same way first: even and odd elements of each RUN.
static void matvec_4bit(const quant_matrix *w, const float *x, size_t row_begin, size_t row_end,
                        float *y, int accumulate) {
  enum { PART = 4096 };  // 16 KiB of x
  _Alignas(64) float parted[PART];
  size_t K = w->columns;
  int shift = __builtin_ctzll(w->block_size);
  dot_table table = load_dot_table(w->codebook);
  if (!accumulate) {
    for (size_t r = row_begin; r < row_end; r++) y[r] = 0;
  }
  for (size_t k = 0; k < K; k += PART) {
    size_t count = smaller(PART, K - k);
    for (size_t i = 0; i < count; i += RUN) {
      for (size_t j = 0; j < RUN / 2; j++) {
        parted[i + j] = x[k + i + 2 * j];
        parted[i + RUN / 2 + j] = x[k + i + 2 * j + 1];
      }
    }
    for (size_t r = row_begin; r < row_end; r++) {
      size_t first = r * K + k;
      const uint8_t *codes = (const uint8_t *)w->data + first / 2;
      const float *absmax = w->absmax;
      vec sum = v_zero();
      // The scale of a block is applied once to the sum of 64 products (32 where K is no multiple).
      if (K % 64 == 0) {
        for (size_t i = 0; i < count; i += 64) {
          vec part = v_add(dot_32(table, codes + i / 2, parted + i),
                           dot_32(table, codes + i / 2 + 16, parted + i + 32));
          sum = v_fma(v_set(absmax[(first + i) >> shift]), part, sum);
        }
      } else {
        for (size_t i = 0; i < count; i += 32) {
          vec part = dot_32(table, codes + i / 2, parted + i);
          sum = v_fma(v_set(absmax[(first + i) >> shift]), part, sum);
        }
      }
      y[r] += v_sum(sum);
    }
  }
}

static void matvec(const quant_matrix *w, const float *x, size_t row_begin, size_t row_end,
                   float *y, int accumulate) {
  if (in_units_of_32(w)) {
    matvec_4bit(w, x, row_begin, row_end, y, accumulate);
    return;
  }
  enum { PART = 512 };
  float part[PART];
  for (size_t r = row_begin; r < row_end; r++) {
    size_t first = r * w->columns;
    float sum = 0;
    if (w->type == QUANT_F32) {
      sum = dot((const float *)w->data + first, x, w->columns);
    } else {
      for (size_t k = 0; k < w->columns; k += PART) {
        size_t count = smaller(PART, w->columns - k);
        decode(w, first + k, count, part);
        sum += dot(part, x + k, count);
      }
    }
    y[r] = accumulate ? y[r] + sum : sum;
  }
}
