// The arithmetic of 4-bit weights, one table of functions per instruction set.
//
// Swift owns memory, threads and preconditions: pointers come checked, no function here allocates,
// prints or fails. `scalar.c` is the definition of every function; the other tables agree with it
// (bit for bit where a comment says "exact", else to fp32 rounding of a reordered sum).
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// How the weights of a matrix are stored.
typedef enum { QUANT_F32 = 0, QUANT_F16 = 1, QUANT_BF16 = 2, QUANT_4BIT = 3 } quant_type;

// A weight matrix W [rows, columns], row-major, in memory that somebody else owns.
//
// 4-bit weights are in bitsandbytes' layout: element i of the flattened matrix is the high nibble
// of data[i / 2] when i is even and the low one when i is odd; block b covers elements
// [b * block_size, (b + 1) * block_size), so blocks cross rows, and the last one may be short:
//
//   w[i] = codebook[code(i)] * absmax[i / block_size]
typedef struct {
  quant_type type;
  const void *data;
  const float *absmax;    // [ceil(rows * columns / block_size)], 4-bit only
  const float *codebook;  // [16], 4-bit only
  size_t rows, columns;
  size_t block_size;  // a power of two, 4-bit only
} quant_matrix;

// Floats that matmul and matmul_backward want as scratch, whatever the shape.
enum { QUANT_MATMUL_SCRATCH = 448 * 256 };

// --- Tiles: weights and activations as the integer products read them ---
//
// A matrix W [rows, columns], columns a multiple of 64, is rearranged once into tiles of 16 rows by
// 64 columns, so that a vector register holds 16 rows and sums never cross its lanes. Within a
// block of 64 columns weights and activations are integers times a scale each, and a product is
//
//   y[m][r] = sum over blocks b of (sum over the block of w * x, in int32) * x.scale[m][b] *
//   w.scale[r][b]
//
// with the blocks added in ascending order, one fused multiply-add each: results are the same bit
// for bit on every instruction set, for every split into threads and batches.

enum {
  QUANT_TILE_ROWS = 16,
  QUANT_TILE_COLUMNS = 64,
  // Rows of activations that are laid out together, and multiplied by a tile while it is decoded.
  QUANT_GROUP = 24,
  // |codes| and |activations| in 16 bits: 64 * 5792² < 2³¹, so a block's sum cannot overflow.
  QUANT_INT16_LIMIT = 5792,
  // Floats that matmul_tiles and matmul_tiles_backward want as scratch, whatever the shape.
  QUANT_TILES_SCRATCH = 512 * 256
};

// Tile (R, B) holds rows 16 R ..< 16 R + 16 and columns 64 B ..< 64 B + 64; tiles lie in rows of
// tiles.
//
// 4 bits: 512 bytes. Byte b of 32-bit word j of the g-th 64 bytes holds two codes of row 16 R + j:
// column 64 B + 8 g + b in the low nibble, and 4 columns further in the high one.
// 8 bits: 1024 bytes. Byte b of word j of the g-th 64 bytes is the signed code of row 16 R + j,
// column 64 B + 4 g + b.
//
// Rows beyond the last have scale 0.
typedef struct {
  int bits;  // 4 or 8
  uint8_t *codes;
  uint16_t *scales;  // [tile rows][tile columns][16], halves
  size_t rows, columns;
  // w = codebook16[code] * scale * multiplier16 (4 bits, with 16-bit activations)
  //   = codebook8[code] * scale * multiplier8 (4 bits, with 8-bit activations)
  //   = code * scale * multiplier (8 bits; both multipliers are that)
  float multiplier16, multiplier8;
  int16_t codebook16[16];
  int8_t codebook8[16];
} quant_tiles;

typedef enum { QUANT_INT16 = 16, QUANT_INT8 = 8 } quant_precision;

// Activations X [rows, columns] as integers; columns are padded with zeros to a multiple of 64.
//
// The order within a group of rows is the instruction set's own. A group g begins at element
// QUANT_GROUP * g * (padded columns) of values, and QUANT_GROUP * g * (blocks) of scales and sums;
// the memory is for whole groups.
typedef struct {
  quant_precision precision;
  size_t rows, columns;
  void *values;   // int16_t or int8_t
  float *scales;  // one a row and block
  int32_t *sums;  // likewise: -128 times the sum of a block's values, for 8 bits
} quant_activations;
enum {
  // Positions of a block of keys.
  QUANT_KV_BLOCK = 16,
  // Positions of a page: few, so that sequences which begin alike share most of what they have in
  // common, and enough that a product within one runs at full speed.
  QUANT_KV_PAGE = 64,
  // The largest head_size that attend takes; it must be a multiple of 8.
  QUANT_ATTEND_HEAD = 256,
  // Floats that attend wants as scratch, whatever the numbers of queries and positions.
  QUANT_ATTEND_SCRATCH = 704 * 256
};

// The keys and values of one sequence in one layer, as IEEE halves in pages of QUANT_KV_PAGE
// positions. From a page's elements `keys` and `values` on:
//
//   keys    [block][kv_heads][head_size][QUANT_KV_BLOCK]
//   values  [position][kv_heads][head_size]
//
// Position j of a page is lane j % QUANT_KV_BLOCK of block j / QUANT_KV_BLOCK: 16 positions' scores
// are made at once, and no sum goes across lanes. What lies past the last position is read, and
// does not matter.
typedef struct {
  uint16_t *const *pages;
  size_t keys, values;
  size_t kv_heads, head_size;
} quant_kv;

// How a query weighs positions: by the softmax of their scores s = scale * q·k, which a cap turns
// into cap * tanh(s / cap) first. Position i sees those of (i - window, i].
typedef struct {
  float scale;
  float cap;      // 0 for none
  size_t window;  // SIZE_MAX for all before it
} quant_scores;

// Where dimension 0 of position j's key is, in the head's part of its page; the next dimensions are
// QUANT_KV_BLOCK apart.
static inline uint16_t *quant_key(const quant_kv *kv, size_t head, size_t j) {
  size_t block = j % QUANT_KV_PAGE / QUANT_KV_BLOCK;
  return kv->pages[j / QUANT_KV_PAGE] + kv->keys +
         (block * kv->kv_heads + head) * kv->head_size * QUANT_KV_BLOCK + j % QUANT_KV_BLOCK;
}

// Where position j's value is.
static inline uint16_t *quant_value(const quant_kv *kv, size_t head, size_t j) {
  return kv->pages[j / QUANT_KV_PAGE] + kv->values +
         (j % QUANT_KV_PAGE * kv->kv_heads + head) * kv->head_size;
}

// C (+)= alpha A B, fp32. Element (m, k) of A [M, K] is a[m * a_row + k * a_column], one of whose
// strides is 1; of B [K, N] likewise. C's rows are ldc apart.
typedef struct {
  size_t M, N, K;
  float alpha;
  const float *a;
  size_t a_row, a_column;
  const float *b;
  size_t b_row, b_column;
  float *c;
  size_t ldc;
  int accumulate;
} quant_gemm;

// --- Low-rank terms ---

enum {
  // Outputs of a panel of B.
  QUANT_LOW_RANK_PANEL = 32,
  // A's rows are padded to a multiple of so many.
  QUANT_LOW_RANK_UNIT = 16
};

// How the elements of factors are stored.
typedef enum { QUANT_FACTOR_F32, QUANT_FACTOR_I8 } quant_factor_type;

// The factors of a term y += scale B (A x), packed for products with few rows and many:
//
//   a  [rank][inputs, padded with zeros to a multiple of QUANT_LOW_RANK_UNIT]
//   b  [panels][rank][QUANT_LOW_RANK_PANEL]
//
// Column i of panel p of b is output QUANT_LOW_RANK_PANEL * p + i, zeros beyond the last: no sum
// goes across lanes, and a range of outputs lies together. Bytes have a scale a rank, that of A's
// row times that of B's column, which U is multiplied by.
typedef struct {
  const void *a, *b;
  quant_factor_type type;
  const float *scales;  // [rank], of bytes alone
  size_t rank, inputs, outputs;
  float scale;
} quant_low_rank;

// Elements between two rows of `a`.
static inline size_t quant_low_rank_stride(size_t inputs) {
  return (inputs + QUANT_LOW_RANK_UNIT - 1) / QUANT_LOW_RANK_UNIT * QUANT_LOW_RANK_UNIT;
}

// --- RefLoRA's algebra, float64 ---

// A low-rank factor F [rank, n] in fp32: element (i, k) is data[i * n + k], or of a tall one, which
// lies as its transpose, data[k * rank + i].
typedef struct {
  float *data;
  size_t rank, n;
  int is_tall;
} quant_factor;

enum {
  // Pairs of matrices that geometric_means takes at once.
  QUANT_PAIRS = 8
};

// Doubles, 64-byte aligned, that factor_gram, factor_multiply and geometric_means want as scratch.
static inline size_t quant_factor_scratch(size_t rank) {
  // Triangles of four matrices and a column, or square matrices and 64 columns of a factor:
  // QUANT_PAIRS at once, or padded to as many.
  size_t padded = (rank + QUANT_PAIRS - 1) / QUANT_PAIRS * QUANT_PAIRS;
  return padded * (2 * QUANT_PAIRS * (padded + 1) + 128);
}

typedef struct quant_kernels {
  const char *isa;  // "scalar", "avx2", "avx512", "neon"

  // --- The format (exact) ---

  // Quantizes x[n]: absmax[b] and codes as bitsandbytes gives them. n odd: the pad code is that of
  // 0. A NaN makes its block's absmax NaN and its codes those of the last interval. midpoints[15]
  // are the boundaries between neighbouring values, ascending, and order[16] the code of each
  // interval; codes are packed two a byte, high nibble first.
  void (*quantize)(const float *x, size_t n, size_t block_size, const float *midpoints,
                   const uint8_t *order, uint8_t *packed, float *absmax);
  // out[0..<count] = flattened elements first..<first + count of w, any type.
  void (*dequantize_f32)(const quant_matrix *w, size_t first, size_t count, float *out);
  // The same, rounded to bf16 (nearest even).
  void (*dequantize_bf16)(const quant_matrix *w, size_t first, size_t count, uint16_t *out);
  // With q[i] the value nearest to x[i] * reciprocal, the smaller of two as near: products[0] = sum
  // of weights[i] x[i] q[i], products[1] = sum of weights[i] q[i]². ascending[16] are a format's
  // values, midpoints[15] the boundaries between them. Not exact: the sums are reordered.
  void (*nearest_products)(const float *x, const float *weights, size_t n, float reciprocal,
                           const float *midpoints, const float *ascending, float *products);
  // Float conversions: IEEE half and bfloat16 to and from fp32, nearest even.
  void (*f32_from_f16)(const uint16_t *x, size_t n, float *out);
  void (*f32_from_bf16)(const uint16_t *x, size_t n, float *out);
  void (*f16_from_f32)(const float *x, size_t n, uint16_t *out);
  void (*bf16_from_f32)(const float *x, size_t n, uint16_t *out);
  // out = x * scale to the nearest integer, ties to even; |x * scale| is at most 127.
  void (*i8_from_f32)(const float *x, size_t n, float scale, int8_t *out);
  // As f16_from_f32, but finite numbers stay finite: beyond ±65504 they become ±65504.
  void (*saturated_f16_from_f32)(const float *x, size_t n, uint16_t *out);

  // --- Products with a weight matrix, fp32 arithmetic ---

  // A product is added to what the result holds when accumulate is not 0.

  // y[r] (+)= sum_k w[r, k] x[k] for row_begin <= r < row_end.
  void (*matvec)(const quant_matrix *w, const float *x, size_t row_begin, size_t row_end, float *y,
                 int accumulate);
  // Y (+)= X Wᵀ: y[m * ldy + r] = sum_k x[m * ldx + k] w[r, k] for row_begin <= r < row_end, m < M.
  void (*matmul)(const quant_matrix *w, const float *x, size_t M, size_t ldx, size_t row_begin,
                 size_t row_end, float *y, size_t ldy, int accumulate, float *scratch);
  // dX (+)= dY W: dx[m * ldx + k] = sum_r dy[m * ldy + r] w[r, k] for col_begin <= k < col_end.
  void (*matmul_backward)(const quant_matrix *w, const float *dy, size_t M, size_t ldy,
                          size_t col_begin, size_t col_end, float *dx, size_t ldx, int accumulate,
                          float *scratch);

  // A product of matrices that are no weights; scratch as matmul has it.
  void (*gemm)(const quant_gemm *product, float *scratch);

  // --- Low-rank terms, fp32 arithmetic ---

  // Every bit of a row's result depends on that row and the term alone.

  // U = X Aᵀ, times the scales of bytes: u[m * ldu + r] = scales[r] sum_k a[r][k] x[m * ldx + k]
  // for rank_begin <= r < rank_end, m < rows.
  void (*low_rank_down)(const quant_low_rank *term, const float *x, size_t ldx, size_t rows,
                        size_t rank_begin, size_t rank_end, float *u, size_t ldu);
  // Y += scale U Bᵀ: y[m * ldy + o] += scale sum_r u[m * ldu + r] b[o][r] for output_begin <= o <
  // output_end, m < rows. output_begin is a multiple of QUANT_LOW_RANK_PANEL.
  void (*low_rank_up)(const quant_low_rank *term, const float *u, size_t ldu, size_t rows,
                      size_t output_begin, size_t output_end, float *y, size_t ldy);

  // --- Products of integers (exact) ---

  // Rearranges rows of tiles of a 4-bit matrix whose blocks of 64 columns have one scale each:
  // scale = absmax * unit. Fills `out` from tile row `begin` to `end`.
  void (*tile_4bit)(const quant_matrix *w, float unit, size_t begin, size_t end, quant_tiles *out);
  // Quantizes a matrix of any type to 8 bits, likewise: code = w * 127 / largest |w| of the block,
  // scale = largest / 127 * unit.
  void (*tile_8bit)(const quant_matrix *w, float unit, size_t begin, size_t end, quant_tiles *out);
  // Quantizes groups of rows of X, at x + m * ldx, into `out`, whose members are set.
  void (*prepare)(const float *x, size_t ldx, size_t group_begin, size_t group_end,
                  quant_activations *out);
  // Y (+)= X Wᵀ for row_begin <= r < row_end, row_begin a multiple of 16, row_end too or w->rows.
  void (*matmul_tiles)(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                       size_t row_end, float *y, size_t ldy, int accumulate, float *scratch);
  // dX (+)= dY W for col_begin <= k < col_end, multiples of 64. 64 rows of W at a time share a
  // scale.
  void (*matmul_tiles_backward)(const quant_tiles *w, const quant_activations *dy, size_t col_begin,
                                size_t col_end, float *dx, size_t ldx, int accumulate,
                                float *scratch);

  // --- Vectors, fp32 ---

  float (*dot)(const float *x, const float *y, size_t n);
  void (*axpy)(float a, const float *x, size_t n, float *y);  // y += a x
  // x = softmax(scale * x): returns log(sum(exp(scale * x))) of what x held.
  float (*softmax)(float *x, size_t n, float scale);
  // x = cap * tanh(scale * x / cap)
  void (*soft_cap)(float *x, size_t n, float scale, float cap);
  // dy holds the gradient of y = soft_cap(x), and becomes that of x: dy (1 - (y / cap)²) scale.
  void (*soft_cap_backward)(const float *y, size_t n, float scale, float cap, float *dy);
  // h = silu(gate) * up
  void (*swiglu)(const float *gate, const float *up, size_t n, float *h);
  // dgate, dup from dh; dgate may alias gate and dup may alias up.
  void (*swiglu_backward)(const float *gate, const float *up, const float *dh, size_t n,
                          float *dgate, float *dup);
  // The same with gelu(x) = x (1 + tanh(sqrt(2 / π) (x + 0.044715 x³))) / 2 in silu's place.
  void (*geglu)(const float *gate, const float *up, size_t n, float *h);
  void (*geglu_backward)(const float *gate, const float *up, const float *dh, size_t n,
                         float *dgate, float *dup);
  // y = x / rms(x) * weight, rms(x) = sqrt(mean(x²) + epsilon); returns 1 / rms(x). y may alias x.
  float (*rmsnorm)(const float *x, const float *weight, size_t n, float epsilon, float *y);
  // dp holds the gradient of p = softmax(scale * x), and becomes that of x: p (dp - p·dp) scale.
  void (*softmax_backward)(const float *p, size_t n, float scale, float *dp);
  // dx += ρ g - x ρ³ (g·x) / n, with g = dy * weight and ρ what rmsnorm returned.
  void (*rmsnorm_backward)(const float *dy, const float *x, const float *weight, size_t n,
                           float inverse_rms, float *dx);
  // h = x Φ(x), Φ the normal distribution's: GELU (Hendrycks and Gimpel, 2016), by erf. h may alias
  // x.
  void (*gelu)(const float *x, size_t n, float *h);
  // dh holds the gradient of h = gelu(x), and becomes that of x: dh (Φ(x) + x φ(x)).
  void (*gelu_backward)(const float *x, size_t n, float *dh);
  // y = (x - mean(x)) ρ weight + bias, ρ = 1 / sqrt(var(x) + epsilon), whose variance divides by n;
  // y may alias x. Stores mean(x) and ρ.
  void (*layernorm)(const float *x, const float *weight, const float *bias, size_t n, float epsilon,
                    float *y, float *mean, float *rho);
  // dy holds the gradient of y = layernorm(x), and becomes that of x. With g = dy * weight and
  // x̂ = (x - mean) ρ, both stored by layernorm: ρ (g - mean(g) - x̂ mean(g x̂)).
  void (*layernorm_backward)(const float *x, const float *weight, size_t n, float mean, float rho,
                             float *dy);
  // x[2 * half]: (a, b) = (x[i], x[half + i]) becomes (a cos - b sign sin, b cos + a sign sin).
  void (*rotate)(const float *cosine, const float *sine, size_t half, float sign, float *x);
  // y (+)= x / (1 - p), with zeros for a share p of the elements (exact): element i stays where the
  // i-th number of `key` is at least `threshold` = p 2³². That number follows from both alone, by a
  // mixer of 32 bits (Wellons, "Prospecting for Hash Functions", 2018: 16 7feb352d 15 846ca68b)
  // that takes up the key's halves in turn. Its last shift is left out, for it leaves the high bits
  // alone, on which a comparison depends. y may be x where it is overwritten; scale = 1 / (1 - p).
  void (*dropout)(const float *x, size_t n, uint64_t key, uint32_t threshold, float scale,
                  int accumulate, float *y);

  // x = a x
  void (*scale)(float a, size_t n, float *x);
  // sum of x², float64
  double (*sum_of_squares)(const float *x, size_t n);

  // --- RefLoRA's algebra, float64 ---

  // G = F Fᵀ, [rank, rank].
  void (*factor_gram)(const quant_factor *f, double *g, double *scratch);
  // F ← M F, M [rank, rank] symmetric.
  void (*factor_multiply)(const double *m, const quant_factor *f, double *scratch);
  // The geometric mean S of y[p] and x[p]⁻¹, S x[p] S = y[p], and its inverse, for `count` <=
  // QUANT_PAIRS pairs of symmetric positive definite matrices, [count, rank, rank] each: by the
  // scaled Newton iteration
  //
  //   M ← (μ M + (μ N)⁻¹) / 2,  N ← (μ N + (μ M)⁻¹) / 2,  μ = (det M · det N)^(-1/2r)
  //
  // from M = y, N = x. Bit p of the result says that pair p has its mean: not where a matrix is not
  // positive definite or has tr M · tr M⁻¹ (at least its condition) of `largest_condition` or more,
  // nor where the iteration does not converge; s[p] and inverse[p] are undefined then. Every bit of
  // a pair's result depends on that pair alone.
  unsigned (*geometric_means)(size_t count, size_t rank, double largest_condition, const double *x,
                              const double *y, double *s, double *inverse, double *scratch);

  // --- Attention over halves, fp32 arithmetic ---

  // Stores rows k + i * ldk and v + i * ldv, [kv_heads * head_size] each, as positions
  // `position` + i, i < count, as saturated_f16_from_f32 rounds them.
  void (*kv_write)(const quant_kv *kv, const float *k, size_t ldk, const float *v, size_t ldv,
                   size_t position, size_t count);
  // Attention of queries (i, g), i < rows, g < group, at q + i * ldq + g * head_size, to those of
  // positions begin ..< end of head `head` that they see: those of the window that ends at past +
  // i. With their scores s[j],
  //
  //   top[i * group + g] = max s[j]                sum[i * group + g] = Σ exp(s[j] - top)
  //   o[i * ldo + g * head_size + c] = Σ exp(s[j] - top) v[j, c]
  //
  // not normalized, so that parts can be merged; a query that sees nothing gets -infinity, 0 and 0.
  // `begin` is a multiple of QUANT_KV_BLOCK. Every bit of a query's result depends on that query,
  // what it sees, and `begin` alone: not on the other queries of the call, nor on what it cannot
  // see. Pages that no query sees are not read.
  void (*attend)(const quant_kv *kv, size_t head, const float *q, size_t ldq, size_t rows,
                 size_t group, size_t past, size_t begin, size_t end, const quant_scores *scores,
                 float *o, size_t ldo, float *top, float *sum, float *scratch);
  // Merges what attend gave the same queries for `parts` ranges of positions, and normalizes it:
  //
  //   out = Σ w[p] o[p] / Σ w[p] sum[p],  w[p] = exp(top[p] - max top)
  //
  // Part p's o is at o + p * rows * ldo, and top and sum at p * rows * group. A query that sees
  // nothing gets 0. With one part `out` may be `o` (and ldout ldo).
  void (*attend_merge)(size_t parts, size_t rows, size_t group, size_t head_size, const float *o,
                       size_t ldo, const float *top, const float *sum, float *out, size_t ldout);
} quant_kernels;

extern const quant_kernels quant_kernels_scalar;
#if defined(__x86_64__)
extern const quant_kernels quant_kernels_avx2;
extern const quant_kernels quant_kernels_avx512;
#elif defined(__aarch64__)
extern const quant_kernels quant_kernels_neon;
#endif

// Tells the processor that the caller spins, waiting for another core.
static inline void quant_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Has memory that will be read soon brought into the second-level cache.
static inline void quant_prefetch(const void *memory, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)memory + i, 0, 2);
}

// Tables this machine can run, scalar first, best last; returns how many were written (at most
// max).
size_t quant_kernels_supported(const quant_kernels **tables, size_t max);

#ifdef __cplusplus
}
#endif
