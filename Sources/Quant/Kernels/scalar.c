// The definition of every kernel: plain loops, nothing clever. Tests compare the others to this.
#include <math.h>
#include <string.h>

#include "quant_kernels.h"

static float f32_of_bf16(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint16_t bf16_of_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);  // NaN stays NaN
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float f32_of_f16(uint16_t x) {
  uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
  uint32_t bits;
  float value;
  if (exponent == 31) {
    bits = sign | 0x7f800000 | fraction << 13;
    if (fraction) bits |= 0x400000;  // a signalling NaN becomes quiet
  } else if (exponent == 0) {        // zero or subnormal: fraction * 2^-24, exact in fp32
    value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
  } else {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint16_t f16_of_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint16_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
  if (bits >= 0x477ff000) return sign | 0x7c00;  // rounds past the largest half
  if (bits < 0x38800000) {                       // below the smallest normal half
    float value;
    memcpy(&value, &bits, sizeof value);
    return sign | (uint16_t)nearbyintf(value * 0x1p24f);
  }
  bits += 0xfff + (bits >> 13 & 1);
  return sign | (uint16_t)((bits - 0x38000000) >> 13);
}

static float element(const quant_matrix *w, size_t i) {
  switch (w->type) {
    case QUANT_F32:
      return ((const float *)w->data)[i];
    case QUANT_F16:
      return f32_of_f16(((const uint16_t *)w->data)[i]);
    case QUANT_BF16:
      return f32_of_bf16(((const uint16_t *)w->data)[i]);
    case QUANT_4BIT:
      break;
  }
  uint8_t pair = ((const uint8_t *)w->data)[i / 2];
  return w->codebook[i % 2 ? pair & 15 : pair >> 4] * w->absmax[i / w->block_size];
}

// The number of midpoints below s; all of them for NaN, as torch.bucketize has it.
static int interval(const float *midpoints, float s) {
  int below = 0;
  for (int m = 0; m < 15; m++) below += !(midpoints[m] >= s);
  return below;
}

static void quantize(const float *x, size_t n, size_t block_size, const float *midpoints,
                     const uint8_t *order, uint8_t *packed, float *absmax) {
  memset(packed, 0, (n + 1) / 2);
  for (size_t begin = 0; begin < n; begin += block_size) {
    size_t count = n - begin < block_size ? n - begin : block_size;
    float largest = 0;  // NaN once there is one
    for (size_t i = 0; i < count; i++) {
      float magnitude = fabsf(x[begin + i]);
      if (magnitude > largest || isnan(magnitude)) largest = magnitude;
    }
    // bitsandbytes divides a short last block, and multiplies a full one by the reciprocal; only
    // the short one stores the clamped absmax.
    float clamped = largest < 1e-38f ? 1e-38f : largest;
    float reciprocal = 1 / clamped;
    absmax[begin / block_size] = count < block_size ? clamped : largest;
    for (size_t i = 0; i < count; i++) {
      float s = count < block_size ? x[begin + i] / clamped : x[begin + i] * reciprocal;
      s = s > 1 ? 1 : s < -1 ? -1 : s;
      packed[(begin + i) / 2] |= order[interval(midpoints, s)] << ((begin + i) % 2 ? 0 : 4);
    }
  }
  if (n % 2) packed[n / 2] |= order[interval(midpoints, 0)];
}

static void nearest_products(const float *x, const float *weights, size_t n, float reciprocal,
                             const float *midpoints, const float *ascending, float *products) {
  products[0] = products[1] = 0;
  for (size_t i = 0; i < n; i++) {
    float q = ascending[interval(midpoints, x[i] * reciprocal)];
    products[0] += weights[i] * x[i] * q;
    products[1] += weights[i] * q * q;
  }
}

static void dequantize_f32(const quant_matrix *w, size_t first, size_t count, float *out) {
  for (size_t i = 0; i < count; i++) out[i] = element(w, first + i);
}

static void dequantize_bf16(const quant_matrix *w, size_t first, size_t count, uint16_t *out) {
  for (size_t i = 0; i < count; i++) out[i] = bf16_of_f32(element(w, first + i));
}

static void f32_from_f16(const uint16_t *x, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) out[i] = f32_of_f16(x[i]);
}

static void f32_from_bf16(const uint16_t *x, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) out[i] = f32_of_bf16(x[i]);
}

static void f16_from_f32(const float *x, size_t n, uint16_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = f16_of_f32(x[i]);
}

static void bf16_from_f32(const float *x, size_t n, uint16_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = bf16_of_f32(x[i]);
}

// Finite numbers stay finite.
static uint16_t saturated_f16(float x) {
  return f16_of_f32(isinf(x) ? x : x > 65504 ? 65504 : x < -65504 ? -65504 : x);
}

static void i8_from_f32(const float *x, size_t n, float scale, int8_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = (int8_t)rintf(x[i] * scale);
}

static void saturated_f16_from_f32(const float *x, size_t n, uint16_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = saturated_f16(x[i]);
}

static void matvec(const quant_matrix *w, const float *x, size_t row_begin, size_t row_end,
                   float *y, int accumulate) {
  for (size_t r = row_begin; r < row_end; r++) {
    float sum = 0;
    for (size_t k = 0; k < w->columns; k++) sum += element(w, r * w->columns + k) * x[k];
    y[r] = accumulate ? y[r] + sum : sum;
  }
}

static void matmul(const quant_matrix *w, const float *x, size_t M, size_t ldx, size_t row_begin,
                   size_t row_end, float *y, size_t ldy, int accumulate, float *scratch) {
  (void)scratch;
  for (size_t m = 0; m < M; m++) {
    matvec(w, x + m * ldx, row_begin, row_end, y + m * ldy, accumulate);
  }
}

static void matmul_backward(const quant_matrix *w, const float *dy, size_t M, size_t ldy,
                            size_t col_begin, size_t col_end, float *dx, size_t ldx, int accumulate,
                            float *scratch) {
  (void)scratch;
  for (size_t m = 0; m < M; m++) {
    for (size_t k = col_begin; k < col_end; k++) {
      float sum = accumulate ? dx[m * ldx + k] : 0;
      for (size_t r = 0; r < w->rows; r++) {
        sum += dy[m * ldy + r] * element(w, r * w->columns + k);
      }
      dx[m * ldx + k] = sum;
    }
  }
}

static float dot(const float *x, const float *y, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

static void axpy(float a, const float *x, size_t n, float *y) {
  for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

static float softmax(float *x, size_t n, float scale) {
  float largest = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++) largest = fmaxf(largest, scale * x[i]);
  for (size_t i = 0; i < n; i++) sum += x[i] = expf(scale * x[i] - largest);
  for (size_t i = 0; i < n; i++) x[i] /= sum;
  return largest + logf(sum);
}

static void soft_cap(float *x, size_t n, float scale, float cap) {
  for (size_t i = 0; i < n; i++) x[i] = cap * tanhf(scale * x[i] / cap);
}

static void soft_cap_backward(const float *y, size_t n, float scale, float cap, float *dy) {
  for (size_t i = 0; i < n; i++) dy[i] *= scale * (1 - y[i] / cap * (y[i] / cap));
}

static void swiglu(const float *gate, const float *up, size_t n, float *h) {
  for (size_t i = 0; i < n; i++) h[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void swiglu_backward(const float *gate, const float *up, const float *dh, size_t n,
                            float *dgate, float *dup) {
  for (size_t i = 0; i < n; i++) {
    float g = gate[i], u = up[i], sigmoid = 1 / (1 + expf(-g));
    dgate[i] = dh[i] * u * sigmoid * (1 + g * (1 - sigmoid));
    dup[i] = dh[i] * g * sigmoid;
  }
}

// sqrt(2 / π)
#define GELU_SLOPE 0.7978845608f
#define GELU_CUBE 0.044715f

static void geglu(const float *gate, const float *up, size_t n, float *h) {
  for (size_t i = 0; i < n; i++) {
    float g = gate[i];
    h[i] = g * (1 + tanhf(GELU_SLOPE * (g + GELU_CUBE * g * g * g))) / 2 * up[i];
  }
}

static void geglu_backward(const float *gate, const float *up, const float *dh, size_t n,
                           float *dgate, float *dup) {
  for (size_t i = 0; i < n; i++) {
    float g = gate[i], u = up[i], t = tanhf(GELU_SLOPE * (g + GELU_CUBE * g * g * g));
    float inner = GELU_SLOPE * (1 + 3 * GELU_CUBE * g * g);
    dgate[i] = dh[i] * u * (1 + t + g * (1 - t * t) * inner) / 2;
    dup[i] = dh[i] * g * (1 + t) / 2;
  }
}

static void softmax_backward(const float *p, size_t n, float scale, float *dp) {
  float mean = dot(p, dp, n);
  for (size_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - mean) * scale;
}

static float rmsnorm(const float *x, const float *weight, size_t n, float epsilon, float *y) {
  float scale = 1 / sqrtf(dot(x, x, n) / (float)n + epsilon);
  for (size_t i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
  return scale;
}

static void rmsnorm_backward(const float *dy, const float *x, const float *weight, size_t n,
                             float inverse_rms, float *dx) {
  float mean = 0;
  for (size_t i = 0; i < n; i++) mean += dy[i] * weight[i] * x[i] / (float)n;
  float cube = inverse_rms * inverse_rms * inverse_rms;
  for (size_t i = 0; i < n; i++) dx[i] += inverse_rms * dy[i] * weight[i] - cube * mean * x[i];
}

static float normal_distribution(float x) { return 0.5f * erfcf(-x * 0x1.6a09e6p-1f); }

static void gelu(const float *x, size_t n, float *h) {
  for (size_t i = 0; i < n; i++) h[i] = x[i] * normal_distribution(x[i]);
}

static void gelu_backward(const float *x, size_t n, float *dh) {
  const float peak = 0x1.988454p-2f;  // φ(0) = 1 / sqrt(2 π)
  for (size_t i = 0; i < n; i++) {
    dh[i] *= normal_distribution(x[i]) + x[i] * peak * expf(-0.5f * x[i] * x[i]);
  }
}

static void layernorm(const float *x, const float *weight, const float *bias, size_t n,
                      float epsilon, float *y, float *mean, float *rho) {
  float sum = 0, squares = 0;
  for (size_t i = 0; i < n; i++) sum += x[i];
  float middle = sum / (float)n;
  for (size_t i = 0; i < n; i++) squares += (x[i] - middle) * (x[i] - middle);
  float scale = 1 / sqrtf(squares / (float)n + epsilon);
  for (size_t i = 0; i < n; i++) y[i] = (x[i] - middle) * scale * weight[i] + bias[i];
  *mean = middle;
  *rho = scale;
}

static void layernorm_backward(const float *x, const float *weight, size_t n, float mean, float rho,
                               float *dy) {
  float g = 0, gx = 0;
  for (size_t i = 0; i < n; i++) {
    g += dy[i] * weight[i] / (float)n;
    gx += dy[i] * weight[i] * (x[i] - mean) * rho / (float)n;
  }
  for (size_t i = 0; i < n; i++) dy[i] = rho * (dy[i] * weight[i] - g - (x[i] - mean) * rho * gx);
}

static void rotate(const float *cosine, const float *sine, size_t half, float sign, float *x) {
  for (size_t i = 0; i < half; i++) {
    float a = x[i], b = x[half + i];
    x[i] = a * cosine[i] - b * (sign * sine[i]);
    x[half + i] = b * cosine[i] + a * (sign * sine[i]);
  }
}

static void dropout(const float *x, size_t n, uint64_t key, uint32_t threshold, float scale,
                    int accumulate, float *y) {
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = (uint32_t)i * 0x9e3779b9u + (uint32_t)key;
    bits = (bits ^ bits >> 16) * 0x7feb352du ^ (uint32_t)(key >> 32);
    bits = (bits ^ bits >> 15) * 0x846ca68bu;
    float kept = bits >= threshold ? scale * x[i] : 0;
    y[i] = accumulate ? y[i] + kept : kept;
  }
}

static void scale(float a, size_t n, float *x) {
  for (size_t i = 0; i < n; i++) x[i] *= a;
}

static double sum_of_squares(const float *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return sum;
}

static void gemm(const quant_gemm *p, float *scratch) {
  (void)scratch;
  for (size_t m = 0; m < p->M; m++) {
    for (size_t n = 0; n < p->N; n++) {
      float sum = p->accumulate ? p->c[m * p->ldc + n] : 0;
      for (size_t k = 0; k < p->K; k++) {
        sum +=
            p->alpha * p->a[m * p->a_row + k * p->a_column] * p->b[k * p->b_row + n * p->b_column];
      }
      p->c[m * p->ldc + n] = sum;
    }
  }
}

static float low_rank_element(const quant_low_rank *term, const void *factor, size_t i) {
  return term->type == QUANT_FACTOR_I8 ? ((const int8_t *)factor)[i] : ((const float *)factor)[i];
}

static void low_rank_down(const quant_low_rank *term, const float *x, size_t ldx, size_t rows,
                          size_t rank_begin, size_t rank_end, float *u, size_t ldu) {
  size_t stride = quant_low_rank_stride(term->inputs);
  for (size_t m = 0; m < rows; m++) {
    for (size_t r = rank_begin; r < rank_end; r++) {
      float sum = 0;
      for (size_t k = 0; k < term->inputs; k++) {
        sum += low_rank_element(term, term->a, r * stride + k) * x[m * ldx + k];
      }
      u[m * ldu + r] = term->type == QUANT_FACTOR_I8 ? term->scales[r] * sum : sum;
    }
  }
}

static void low_rank_up(const quant_low_rank *term, const float *u, size_t ldu, size_t rows,
                        size_t output_begin, size_t output_end, float *y, size_t ldy) {
  for (size_t m = 0; m < rows; m++) {
    for (size_t o = output_begin; o < output_end; o++) {
      size_t panel = o / QUANT_LOW_RANK_PANEL, column = o % QUANT_LOW_RANK_PANEL;
      float sum = 0;
      for (size_t r = 0; r < term->rank; r++) {
        size_t i = (panel * term->rank + r) * QUANT_LOW_RANK_PANEL + column;
        sum += low_rank_element(term, term->b, i) * u[m * ldu + r];
      }
      y[m * ldy + o] += term->scale * sum;
    }
  }
}

#include "scalar_refactoring.h"
#include "scalar_tiles.h"

static void kv_write(const quant_kv *kv, const float *k, size_t ldk, const float *v, size_t ldv,
                     size_t position, size_t count) {
  for (size_t i = 0; i < count; i++) {
    for (size_t h = 0; h < kv->kv_heads; h++) {
      uint16_t *key = quant_key(kv, h, position + i), *value = quant_value(kv, h, position + i);
      for (size_t d = 0; d < kv->head_size; d++) {
        key[d * QUANT_KV_BLOCK] = saturated_f16(k[i * ldk + h * kv->head_size + d]);
        value[d] = saturated_f16(v[i * ldv + h * kv->head_size + d]);
      }
    }
  }
}

static float score(const quant_kv *kv, size_t head, const float *q, size_t j,
                   const quant_scores *scores) {
  const uint16_t *key = quant_key(kv, head, j);
  float sum = 0;
  for (size_t d = 0; d < kv->head_size; d++) sum += q[d] * f32_of_f16(key[d * QUANT_KV_BLOCK]);
  float s = scores->scale * sum;
  return scores->cap > 0 ? scores->cap * tanhf(s / scores->cap) : s;
}

static void attend(const quant_kv *kv, size_t head, const float *q, size_t ldq, size_t rows,
                   size_t group, size_t past, size_t begin, size_t end, const quant_scores *scores,
                   float *o, size_t ldo, float *top, float *sum, float *scratch) {
  (void)scratch;
  size_t D = kv->head_size;
  for (size_t m = 0; m < rows * group; m++) {
    size_t i = m / group, g = m % group, last = past + i + 1;
    size_t first = last > scores->window ? last - scores->window : 0;
    size_t from = first > begin ? first : begin, seen = last < end ? last : end;
    const float *query = q + i * ldq + g * D;
    float *out = o + i * ldo + g * D, largest = -INFINITY, total = 0;
    for (size_t j = from; j < seen; j++) {
      largest = fmaxf(largest, score(kv, head, query, j, scores));
    }
    for (size_t c = 0; c < D; c++) out[c] = 0;
    for (size_t j = from; j < seen; j++) {
      const uint16_t *value = quant_value(kv, head, j);
      float weight = expf(score(kv, head, query, j, scores) - largest);
      for (size_t c = 0; c < D; c++) out[c] += weight * f32_of_f16(value[c]);
      total += weight;
    }
    top[m] = largest;
    sum[m] = total;
  }
}

static void attend_merge(size_t parts, size_t rows, size_t group, size_t head_size, const float *o,
                         size_t ldo, const float *top, const float *sum, float *out, size_t ldout) {
  for (size_t m = 0; m < rows * group; m++) {
    size_t i = m / group, first = m % group * head_size;
    float largest = -INFINITY, total = 0;
    for (size_t p = 0; p < parts; p++) largest = fmaxf(largest, top[p * rows * group + m]);
    for (size_t p = 0; p < parts; p++) {
      size_t part = p * rows * group + m;
      if (sum[part] != 0) total += expf(top[part] - largest) * sum[part];
    }
    for (size_t c = first; c < first + head_size; c++) {
      float weighted = 0;
      for (size_t p = 0; p < parts; p++) {
        size_t part = p * rows * group + m;
        if (sum[part] != 0) weighted += expf(top[part] - largest) * o[(p * rows + i) * ldo + c];
      }
      out[i * ldout + c] = total == 0 ? 0 : weighted / total;
    }
  }
}

const quant_kernels quant_kernels_scalar = {
    .isa = "scalar",
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
    .kv_write = kv_write,
    .attend = attend,
    .attend_merge = attend_merge,
};
