// NEON as every AArch64 processor has it (ARMv8.0): no dot products, no 16-bit arithmetic.
#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "quant_kernels.h"

// --- Primitives ---

typedef float32x4_t vec;
typedef uint32x4_t word;
// 6 × 4 sums, 4 vectors of the panel and a broadcast fill 29 of 32 registers.
enum { LANES = 4, TILE_VECS = 4 };
#define TILE_ROWS 6

#define V static inline __attribute__((always_inline))

V vec v_zero(void) { return vdupq_n_f32(0); }
V vec v_set(float x) { return vdupq_n_f32(x); }
V vec v_load(const float *p) { return vld1q_f32(p); }
V void v_store(float *p, vec v) { vst1q_f32(p, v); }
V vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
V vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
V vec v_div(vec a, vec b) { return vdivq_f32(a, b); }
// The number where one of them is NaN, as fmaxf has it.
V vec v_max(vec a, vec b) { return vmaxnmq_f32(a, b); }
V vec v_abs(vec a) { return vabsq_f32(a); }
V vec v_max_magnitude(vec top, vec x) {
  return vreinterpretq_f32_u32(
      vmaxq_u32(vreinterpretq_u32_f32(top), vreinterpretq_u32_f32(v_abs(x))));
}
V float v_largest_magnitude(vec top) {
  return vgetq_lane_f32(vreinterpretq_f32_u32(vdupq_n_u32(vmaxvq_u32(vreinterpretq_u32_f32(top)))),
                        0);
}
V int v_any_nan(vec a) { return vminvq_u32(vceqq_f32(a, a)) == 0; }
V vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
V float v_sum(vec v) { return vaddvq_f32(v); }
V float v_maximum(vec v) { return vmaxnmvq_f32(v); }

V vec v_load_partial(const float *p, size_t count) {
  float part[LANES] = {0};
  memcpy(part, p, count * sizeof *p);
  return v_load(part);
}
V void v_store_partial(float *p, size_t count, vec v) {
  float part[LANES];
  v_store(part, v);
  memcpy(p, part, count * sizeof *p);
}

// As in AVX2: exp(x) = 2^n exp(r), a Taylor polynomial of degree 7, relative error below 2e-7; 2^n
// is applied in two halves. NaN stays NaN.
V vec v_exp(vec x) {
  x = vminq_f32(v_set(89), vmaxq_f32(v_set(-104), x));
  vec n = vrndnq_f32(v_mul(x, v_set(0x1.715476p+0f)));
  vec r = vfmsq_f32(x, n, v_set(0x1.62e4p-1f));
  r = vfmsq_f32(r, n, v_set(0x1.7f7d1cp-20f));
  vec p = v_set(1.0f / 5040);
  p = v_fma(p, r, v_set(1.0f / 720));
  p = v_fma(p, r, v_set(1.0f / 120));
  p = v_fma(p, r, v_set(1.0f / 24));
  p = v_fma(p, r, v_set(1.0f / 6));
  p = v_fma(p, r, v_set(0.5f));
  p = v_fma(p, r, v_set(1));
  p = v_fma(p, r, v_set(1));
  int32x4_t exponent = vcvtq_s32_f32(n), half = vshrq_n_s32(exponent, 1);
  int32x4_t bias = vdupq_n_s32(127), rest = vsubq_s32(exponent, half);
  p = v_mul(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
  return v_mul(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23)));
}

// --- 16-bit floats ---

typedef uint16x4_t vec16;

V vec16 v16_load(const uint16_t *p) { return vld1_u16(p); }
V void v16_store(uint16_t *p, vec16 v) { vst1_u16(p, v); }
V vec f32_of_f16(vec16 x) { return vcvt_f32_f16(vreinterpret_f16_u16(x)); }
V vec f32_of_bf16(vec16 x) { return vreinterpretq_f32_u32(vshll_n_u16(x, 16)); }
V vec16 f16_of_f32(vec x) { return vreinterpret_u16_f16(vcvt_f16_f32(x)); }
V vec16 bf16_of_f32(vec x) {
  uint32x4_t bits = vreinterpretq_u32_f32(x);
  uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet), 16);
}

// --- 8-bit integers ---

V vec f32_of_i8(const int8_t *p) {
  int8x8_t bytes = vreinterpret_s8_s32(vld1_dup_s32((const void *)p));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}
V void i8_store(int8_t *p, vec x) {
  int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(x));
  int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  vst1_lane_s32((void *)p, vreinterpret_s32_s8(bytes), 0);
}

// --- 4-bit codes ---

// The 16 values' bytes in four registers, which one instruction looks up.
typedef uint8x16x4_t codebook_4bit;

V codebook_4bit load_codebook(const float *values) { return vld1q_u8_x4((const void *)values); }

V codebook_4bit scaled(codebook_4bit codebook, float scale) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    vec values = v_mul(vreinterpretq_f32_u8(codebook.val[i]), v_set(scale));
    codebook.val[i] = vreinterpretq_u8_f32(values);
  }
  return codebook;
}

// The values of indices 0 ... 15: the bytes of index i are 4i ... 4i + 3.
V vec look_up(codebook_4bit codebook, uint32x4_t index) {
  uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), index, 0x04040404);
  return vreinterpretq_f32_u8(vqtbl4q_u8(codebook, vreinterpretq_u8_u32(bytes)));
}

// The values of the codes at bits `at` ... `at` + 3 of each lane.
V vec look_up_at(codebook_4bit codebook, word words, int at) {
  uint32x4_t index = vshlq_u32(words, vdupq_n_s32(-at));
  return look_up(codebook, vandq_u32(index, vdupq_n_u32(15)));
}

// The values of LANES neighbours: 2 bytes, high nibbles first.
V vec look_up_neighbours(codebook_4bit codebook, const uint8_t *codes) {
  static const int32_t shifts[4] = {-4, 0, -12, -8};
  uint16_t pair;
  memcpy(&pair, codes, sizeof pair);
  uint32x4_t index = vshlq_u32(vdupq_n_u32(pair), vld1q_s32(shifts));
  return look_up(codebook, vandq_u32(index, vdupq_n_u32(15)));
}

// words[j] holds, a lane a row, columns 8j ... 8j + 7 of LANES rows, whose 16 bytes of codes are at
// rows[i].
V void load_words(const uint8_t *const rows[LANES], word words[4]) {
  uint32x4_t r[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) r[i] = vreinterpretq_u32_u8(vld1q_u8(rows[i]));
  uint64x2_t even01 = vreinterpretq_u64_u32(vtrn1q_u32(r[0], r[1]));
  uint64x2_t even23 = vreinterpretq_u64_u32(vtrn1q_u32(r[2], r[3]));
  uint64x2_t odd01 = vreinterpretq_u64_u32(vtrn2q_u32(r[0], r[1]));
  uint64x2_t odd23 = vreinterpretq_u64_u32(vtrn2q_u32(r[2], r[3]));
  words[0] = vreinterpretq_u32_u64(vtrn1q_u64(even01, even23));
  words[1] = vreinterpretq_u32_u64(vtrn1q_u64(odd01, odd23));
  words[2] = vreinterpretq_u32_u64(vtrn2q_u64(even01, even23));
  words[3] = vreinterpretq_u32_u64(vtrn2q_u64(odd01, odd23));
}

// Byte i of each value in bytes[i], so that 16 codes at once are looked up.
typedef struct {
  uint8x16_t bytes[4];
} dot_table;

// x is parted into runs of 16 even and 16 odd elements.
enum { RUN = 32 };

V dot_table load_dot_table(const float *values) {
  uint8x16x4_t parted = vld4q_u8((const void *)values);
  return (dot_table){{parted.val[0], parted.val[1], parted.val[2], parted.val[3]}};
}

// sum + the products of 16 weights, unscaled, with x.
V vec dot_16(dot_table table, uint8x16_t codes, const float *x, vec sum) {
  uint8x16_t byte[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) byte[i] = vqtbl1q_u8(table.bytes[i], codes);
  uint16x8_t low0 = vreinterpretq_u16_u8(vzip1q_u8(byte[0], byte[1]));
  uint16x8_t low1 = vreinterpretq_u16_u8(vzip2q_u8(byte[0], byte[1]));
  uint16x8_t high0 = vreinterpretq_u16_u8(vzip1q_u8(byte[2], byte[3]));
  uint16x8_t high1 = vreinterpretq_u16_u8(vzip2q_u8(byte[2], byte[3]));
  sum = v_fma(vreinterpretq_f32_u16(vzip1q_u16(low0, high0)), v_load(x), sum);
  sum = v_fma(vreinterpretq_f32_u16(vzip2q_u16(low0, high0)), v_load(x + 4), sum);
  sum = v_fma(vreinterpretq_f32_u16(vzip1q_u16(low1, high1)), v_load(x + 8), sum);
  return v_fma(vreinterpretq_f32_u16(vzip2q_u16(low1, high1)), v_load(x + 12), sum);
}

// The products of 32 weights, unscaled, with x, parted: lane sums.
V vec dot_32(dot_table table, const uint8_t *codes, const float *x) {
  uint8x16_t pairs = vld1q_u8(codes);
  vec even = dot_16(table, vshrq_n_u8(pairs, 4), x, v_zero());
  vec odd = dot_16(table, vandq_u8(pairs, vdupq_n_u8(15)), x + 16, v_zero());
  return v_add(even, odd);
}

// --- Quantization ---

// The boundaries as a binary search tree: node i has children 2i and 2i + 1.
typedef codebook_4bit boundaries;

V boundaries load_boundaries(const float *m) {
  const float tree[16] = {0,    m[7], m[3], m[11], m[1], m[5],  m[9],  m[13],
                          m[0], m[2], m[4], m[6],  m[8], m[10], m[12], m[14]};
  return load_codebook(tree);
}

// How many boundaries are below s, which need not be clamped, for they are within (-1, 1).
V uint32x4_t intervals(boundaries b, vec s) {
  uint32x4_t node = vdupq_n_u32(1);
#pragma clang loop unroll(full)
  for (int level = 0; level < 4; level++) {
    uint32x4_t below = vmvnq_u32(vcgeq_f32(look_up(b, node), s));
    node = vsubq_u32(vaddq_u32(node, node), below);
  }
  return node;  // 16 + the interval
}

// The codes of the intervals.
typedef uint8x16_t interval_codes;

V interval_codes load_codes(const uint8_t *order) { return vld1q_u8(order); }

// 32 weights times `reciprocal` as 16 bytes of codes.
V void quantize_32(boundaries b, interval_codes order, const float *x, vec reciprocal,
                   uint8_t *packed) {
  uint8x16_t codes[2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) {
    uint16x4_t part[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; j++) {
      part[j] = vmovn_u32(intervals(b, v_mul(v_load(x + 16 * i + 4 * j), reciprocal)));
    }
    uint8x16_t bytes = vcombine_u8(vmovn_u16(vcombine_u16(part[0], part[1])),
                                   vmovn_u16(vcombine_u16(part[2], part[3])));
    codes[i] = vqtbl1q_u8(order, vandq_u8(bytes, vdupq_n_u8(15)));
  }
  uint8x16_t even = vuzp1q_u8(codes[0], codes[1]), odd = vuzp2q_u8(codes[0], codes[1]);
  vst1q_u8(packed, vorrq_u8(vshlq_n_u8(even, 4), odd));
}

// 64 weights times `reciprocal` as 32 bytes of codes.
V void quantize_64(boundaries b, interval_codes order, const float *x, vec reciprocal,
                   uint8_t *packed) {
  quantize_32(b, order, x, reciprocal, packed);
  quantize_32(b, order, x + 32, reciprocal, packed + 16);
}

// --- Products of integers ---

// The low and high bytes of the 16-bit values of 4-bit codes.
typedef struct {
  uint8x16_t low, high;
} tile_decoder;

V tile_decoder decoder_of(const quant_tiles *w, quant_precision precision) {
  uint8_t low[16], high[16];
  for (int i = 0; i < 16; i++) {
    int value = precision == QUANT_INT16 ? w->codebook16[i] : w->codebook8[i];
    low[i] = (uint8_t)value;
    high[i] = (uint8_t)(value >> 8);
  }
  return (tile_decoder){vld1q_u8(low), vld1q_u8(high)};
}

// 4 × 4 sums, a row of the panel and the rows' activations fill 22 of 32 registers.
enum { PANEL_HEIGHT = 4 };

#include "../vector_kernels.h"

// Made of those.
#include "../panel_tiles.h"
#include "../vector_attention.h"
#include "../vector_gemm.h"
#include "../vector_low_rank.h"
#include "../vector_refactoring.h"
#include "../vector_scales.h"

V void store_rounded(const vec x[16], quant_precision precision, void *out) {
  int16x8_t halves[8];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    // What NaN gives, and nothing else, is 0.
    int16x4_t low = vmovn_s32(vcvtnq_s32_f32(x[2 * i]));
    halves[i] = vmovn_high_s32(low, vcvtnq_s32_f32(x[2 * i + 1]));
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    if (precision == QUANT_INT16) {
      vst1q_s16((int16_t *)out + 8 * i, halves[i]);
    } else {
      vst1_s8((int8_t *)out + 8 * i, vmovn_s16(halves[i]));
    }
  }
}

// The panel's summands are in order, 16 outputs each.
INLINE void multiply_rows(size_t rows, const panel_product *t) {
  const int16_t *w = t->panel->weights[0];
  int32x4_t sums[PANEL_HEIGHT][4];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < rows; i++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) sums[i][v] = vdupq_n_s32(0);
  }
#pragma clang loop unroll(disable)
  for (size_t k = 0; k < 64; k += 8, w += 8 * 16) {
    int16x8_t x[PANEL_HEIGHT];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) x[i] = vld1q_s16(t->x + 64 * i + k);
      // A lane must be a constant.
#define SUMMAND(lane)                                                              \
  do {                                                                             \
    int16x8_t low = vld1q_s16(w + 16 * lane), high = vld1q_s16(w + 16 * lane + 8); \
    _Pragma("clang loop unroll(full)") for (size_t i = 0; i < rows; i++) {         \
      sums[i][0] = vmlal_laneq_s16(sums[i][0], vget_low_s16(low), x[i], lane);     \
      sums[i][1] = vmlal_high_laneq_s16(sums[i][1], low, x[i], lane);              \
      sums[i][2] = vmlal_laneq_s16(sums[i][2], vget_low_s16(high), x[i], lane);    \
      sums[i][3] = vmlal_high_laneq_s16(sums[i][3], high, x[i], lane);             \
    }                                                                              \
  } while (0)
    SUMMAND(0);
    SUMMAND(1);
    SUMMAND(2);
    SUMMAND(3);
    SUMMAND(4);
    SUMMAND(5);
    SUMMAND(6);
    SUMMAND(7);
#undef SUMMAND
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < rows; i++) {
    vec products[4];
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) products[v] = vcvtq_f32_s32(sums[i][v]);
    add_products(t, i, products);
  }
}

static void multiply_1(const panel_product *t) { multiply_rows(1, t); }
static void multiply_2(const panel_product *t) { multiply_rows(2, t); }
static void multiply_3(const panel_product *t) { multiply_rows(3, t); }
static void multiply_4(const panel_product *t) { multiply_rows(4, t); }
static void (*const panel_heights[PANEL_HEIGHT])(const panel_product *) = {multiply_1, multiply_2,
                                                                           multiply_3, multiply_4};

// 16 codes as 16-bit weights.
V void widen(int bits, uint8x16_t codes, const tile_decoder *decoder, int16x8_t out[2]) {
  if (bits == 4) {
    uint8x16_t low = vqtbl1q_u8(decoder->low, codes), high = vqtbl1q_u8(decoder->high, codes);
    out[0] = vreinterpretq_s16_u8(vzip1q_u8(low, high));
    out[1] = vreinterpretq_s16_u8(vzip2q_u8(low, high));
  } else {
    out[0] = vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(codes)));
    out[1] = vmovl_high_s8(vreinterpretq_s8_u8(codes));
  }
}

V void decode_tile(int bits, const uint8_t *codes, const tile_decoder *decoder, tile_panel *out) {
  for (size_t g = 0; g < 2 * (size_t)bits; g++) {
    __builtin_prefetch(codes + 64 * g + TILE_AHEAD);
    uint8x16x4_t columns = vld4q_u8(codes + 64 * g);  // a byte of 16 rows each
#pragma clang loop unroll(full)
    for (size_t b = 0; b < 4; b++) {
      uint8x16_t byte = columns.val[b];
      uint8x16_t parts[2] = {bits == 4 ? vandq_u8(byte, vdupq_n_u8(15)) : byte,
                             vshrq_n_u8(byte, 4)};
#pragma clang loop unroll(full)
      for (size_t part = 0; part < 8 / (size_t)bits; part++) {
        int16x8_t weights[2];
        widen(bits, parts[part], decoder, weights);
        int16_t *to = out->weights[0] + 16 * (32 / (size_t)bits * g + 4 * part + b);
        vst1q_s16(to, weights[0]);
        vst1q_s16(to + 8, weights[1]);
      }
    }
  }
}

// A row of 8 columns times its ratio.
V void store_row(int bits, int16x4_t low, int16x4_t high, int16_t ratio, int16_t *out) {
  int16x8_t row = vcombine_s16(low, high);
  if (bits == 8) row = vmulq_n_s16(row, SPREAD);
  vst1q_s16(out, vqrdmulhq_n_s16(row, ratio));
}

V void decode_rows(int bits, const uint8_t *codes, const tile_decoder *decoder,
                   const int16_t ratios[16], size_t part, tile_panel panels[4]) {
  for (size_t g = 0; g < 8; g++) {
    int16_t *to = panels[g / 2].weights[part] + g % 2 * 8;
    const uint8_t *p = codes + (size_t)(16 * bits) * g;
    for (size_t r = 0; r < 16; r += 4) {
      // 4 rows of 4 columns each; a register of weights has 2 rows.
      uint8x16_t bytes = vld1q_u8(p + 4 * r);
      int16x8_t low[2], high[2];
      if (bits == 4) {
        widen(4, vandq_u8(bytes, vdupq_n_u8(15)), decoder, low);
        widen(4, vshrq_n_u8(bytes, 4), decoder, high);
      } else {
        widen(8, bytes, decoder, low);
        widen(8, vld1q_u8(p + 64 + 4 * r), decoder, high);
      }
#pragma clang loop unroll(full)
      for (size_t i = 0; i < 2; i++) {
        size_t row = r + 2 * i;
        store_row(bits, vget_low_s16(low[i]), vget_low_s16(high[i]), ratios[row], to + 16 * row);
        store_row(bits, vget_high_s16(low[i]), vget_high_s16(high[i]), ratios[row + 1],
                  to + 16 * (row + 1));
      }
    }
  }
}

static void matmul_tiles(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                         size_t row_end, float *y, size_t ldy, int accumulate, float *scratch) {
  (void)scratch;
  matmul_tile_rows(w, x, row_begin, row_end, y, ldy, accumulate, NULL);
}

const quant_kernels quant_kernels_neon = {
    .isa = "neon",
    .quantize = quantize,
    .nearest_products = nearest_products,
    .dequantize_f32 = dequantize_f32,
    .dequantize_bf16 = dequantize_bf16,
    .f32_from_f16 = f32_from_f16,
    .f32_from_bf16 = f32_from_bf16,
    .f16_from_f32 = f16_from_f32,
    .bf16_from_f32 = bf16_from_f32,
    .i8_from_f32 = i8_from_f32,
    .saturated_f16_from_f32 = saturated_f16_from_f32,
    .matvec = matvec,
    .matmul = matmul,
    .matmul_backward = matmul_backward,
    .gemm = gemm,
    .low_rank_down = low_rank_down,
    .low_rank_up = low_rank_up,
    .tile_4bit = tile_4bit,
    .tile_8bit = tile_8bit,
    .prepare = prepare,
    .matmul_tiles = matmul_tiles,
    .matmul_tiles_backward = matmul_tiles_backward,
    .kv_write = kv_write,
    .attend = attend,
    .attend_merge = attend_merge,
    .dot = dot,
    .axpy = axpy,
    .softmax = softmax,
    .soft_cap = soft_cap,
    .soft_cap_backward = soft_cap_backward,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .geglu = geglu,
    .geglu_backward = geglu_backward,
    .rmsnorm = rmsnorm,
    .softmax_backward = softmax_backward,
    .rmsnorm_backward = rmsnorm_backward,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .layernorm = layernorm,
    .layernorm_backward = layernorm_backward,
    .rotate = rotate,
    .dropout = dropout,
    .scale = scale,
    .sum_of_squares = sum_of_squares,
    .factor_gram = factor_gram,
    .factor_multiply = factor_multiply,
    .geometric_means = geometric_means,
};

#endif
