// Every function of every table this machine has, against the scalar one, on awkward sizes: what
// QuantTests checks, where there is no Swift. Prints what differs, and exits with 1 if anything
// does.
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const quant_kernels *scalar, *tested;
static int failures;

void check(int good, const char *what, size_t a, size_t b, size_t c) {
  if (good) return;
  if (failures++ < 40) printf("%s: %s differs (%zu, %zu, %zu)\n", tested->isa, what, a, b, c);
}

// --- Memory and numbers ---

static void *pool[4096];
static size_t pooled;

void *memory(size_t bytes) {
  size_t size = (bytes + 127) / 64 * 64;
  void *p = aligned_alloc(64, size);
  if (!p || pooled == sizeof pool / sizeof *pool) abort();
  return pool[pooled++] = memset(p, 0, size);
}

static void release(size_t mark) {
  while (pooled > mark) free(pool[--pooled]);
}

static uint64_t state = 88172645463325252u;

static uint32_t random_bits(void) {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 16);
}

float *noise(size_t count) {
  float *x = memory(count * sizeof *x);
  for (size_t i = 0; i < count; i++) {
    x[i] = -2;
    for (int j = 0; j < 4; j++) x[i] += (float)(random_bits() >> 8) * 0x1p-24f;
  }
  return x;
}

void *copy(const void *x, size_t bytes) { return memcpy(memory(bytes), x, bytes); }

static const float nf4[16] = {-1,           -0.69619280f, -0.52507305f, -0.39491749f,
                              -0.28444138f, -0.18477343f, -0.09105004f, 0,
                              0.07958030f,  0.16093020f,  0.24611230f,  0.33791524f,
                              0.44070983f,  0.56261700f,  0.72295684f,  1};

// --- The format ---

static void check_quantize(size_t n, size_t block_size) {
  float midpoints[15], *x = noise(n);
  uint8_t order[16];
  for (int i = 0; i < 15; i++) midpoints[i] = (nf4[i] + nf4[i + 1]) / 2;
  for (int i = 0; i < 16; i++) order[i] = (uint8_t)((i * 7 + 3) % 16);
  if (n > 40) {  // values on and beside the boundaries
    for (int i = 0; i < 15; i++) {
      x[i] = midpoints[i] * 2;
      x[i + 15] = nextafterf(midpoints[i] * 2, 3);
    }
    x[30] = 2;
  }
  if (n > 1000) x[700] = NAN;
  size_t bytes = (n + 1) / 2, blocks = (n + block_size - 1) / block_size;
  uint8_t *packed[2] = {memory(bytes), memory(bytes)};
  float *absmax[2] = {memory(4 * blocks), memory(4 * blocks)};
  scalar->quantize(x, n, block_size, midpoints, order, packed[0], absmax[0]);
  tested->quantize(x, n, block_size, midpoints, order, packed[1], absmax[1]);
  check(!memcmp(packed[0], packed[1], bytes), "quantize: codes", n, block_size, 0);
  check(!memcmp(absmax[0], absmax[1], 4 * blocks), "quantize: absmax", n, block_size, 0);
}

static void check_nearest_products(size_t n) {
  float midpoints[15], *x = noise(n), *weights = noise(n), products[2][2], magnitude = 0;
  for (int i = 0; i < 15; i++) midpoints[i] = (nf4[i] + nf4[i + 1]) / 2;
  for (size_t i = 0; i < n; i++) {
    weights[i] = fabsf(weights[i]);
    magnitude += weights[i] * fmaxf(1, fabsf(x[i]));
  }
  scalar->nearest_products(x, weights, n, 1.3f, midpoints, nf4, products[0]);
  tested->nearest_products(x, weights, n, 1.3f, midpoints, nf4, products[1]);
  for (size_t i = 0; i < 2; i++) {
    check(close_sums(products[0][i], products[1][i], n, magnitude), "nearest_products", n, i, 0);
  }
}

static quant_matrix matrix(quant_type type, size_t rows, size_t columns, size_t block_size) {
  size_t n = rows * columns;
  float *x = noise(n);
  quant_matrix w = {.type = type, .rows = rows, .columns = columns, .data = x};
  if (type == QUANT_F16 || type == QUANT_BF16) {
    uint16_t *halves = memory(2 * n);
    (type == QUANT_F16 ? scalar->f16_from_f32 : scalar->bf16_from_f32)(x, n, halves);
    w.data = halves;
  } else if (type == QUANT_4BIT) {
    uint8_t *codes = memory((n + 1) / 2);
    float *absmax = noise(n / block_size + 1);
    for (size_t i = 0; i < (n + 1) / 2; i++) codes[i] = (uint8_t)random_bits();
    for (size_t i = 0; i <= n / block_size; i++) absmax[i] = fabsf(absmax[i]) + 0.01f;
    w.data = codes;
    w.absmax = absmax;
    w.codebook = nf4;
    w.block_size = block_size;
  }
  return w;
}

static void check_dequantize(const quant_matrix *w, size_t first, size_t count) {
  float *floats[2] = {memory(4 * count + 4), memory(4 * count + 4)};
  uint16_t *halves[2] = {memory(2 * count + 2), memory(2 * count + 2)};
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    kernels->dequantize_f32(w, first, count, floats[i]);
    kernels->dequantize_bf16(w, first, count, halves[i]);
  }
  check(!memcmp(floats[0], floats[1], 4 * count + 4), "dequantize_f32", w->type, first, count);
  check(!memcmp(halves[0], halves[1], 2 * count + 2), "dequantize_bf16", w->type, first, count);
}

static void check_bytes(size_t n) {
  float *x = noise(n);
  for (size_t i = 0; i < n; i += 3) x[i] = (float)(i % 5) - 2;  // ties of a half among them
  int8_t *bytes[2] = {memory(n + 1), memory(n + 1)};
  for (int scale = 1; scale < 128; scale += 63) {
    scalar->i8_from_f32(x, n, (float)scale / 2, bytes[0]);
    tested->i8_from_f32(x, n, (float)scale / 2, bytes[1]);
    check(!memcmp(bytes[0], bytes[1], n + 1), "i8_from_f32", n, (size_t)scale, 0);
  }
}

static void check_16_bits(void) {
  enum { ALL = 65536 };
  uint16_t *all = memory(2 * ALL), *halves[2] = {memory(2 * ALL), memory(2 * ALL)};
  float *floats[2] = {memory(4 * ALL), memory(4 * ALL)}, *x = memory(4 * ALL);
  for (uint32_t i = 0; i < ALL; i++) {
    all[i] = (uint16_t)i;
    uint32_t bits = i % 3 ? random_bits() : (i & 0x1ff) << 23 | 0x8000 | (i >> 9 & 1) << 16 | i % 2;
    memcpy(x + i, &bits, 4);
  }
#define BOTH(function, in, out, count)                                      \
  scalar->function(in, count, out[0]), tested->function(in, count, out[1]); \
  check(!memcmp(out[0], out[1], (count) * sizeof *out[0]), #function, count, 0, 0)
  BOTH(f32_from_f16, all, floats, ALL);
  BOTH(f32_from_bf16, all, floats, ALL);
  BOTH(f16_from_f32, x, halves, ALL);
  BOTH(bf16_from_f32, x, halves, ALL);
  BOTH(saturated_f16_from_f32, x, halves, ALL);
  for (size_t n = 0; n < 20; n++) {
    BOTH(f32_from_f16, all + 15000, floats, n);
    BOTH(f16_from_f32, x, halves, n);
  }
#undef BOTH
}

// --- Products, fp32 ---

int close_sums(float a, float b, size_t n, double magnitude) {
  return fabs((double)a - b) <= 2 * (double)(n + 2) * 0x1p-24 * magnitude;
}

static void check_products(const quant_matrix *w, size_t M) {
  size_t R = w->rows, K = w->columns, ldy = R + 2, ldx = K + 3;
  float *weights = memory(4 * R * K), *scratch = memory(4 * QUANT_MATMUL_SCRATCH);
  scalar->dequantize_f32(w, 0, R * K, weights);
  float *x = noise(M * ldx), *y = noise(M * ldy), *before = copy(y, 4 * M * ldy);
  size_t begin = R > 20 ? 16 : 0;
  for (int accumulate = 0; accumulate < 2; accumulate++) {
    float *vector = copy(before, 4 * R);
    memcpy(y, before, 4 * M * ldy);
    tested->matmul(w, x, M, ldx, begin, R, y, ldy, accumulate, scratch);
    tested->matvec(w, x, begin, R, vector, accumulate);
    for (size_t m = 0; m < M; m++) {
      for (size_t r = 0; r < ldy; r++) {
        float got = y[m * ldy + r];
        if (r < begin || r >= R) {
          check(got == before[m * ldy + r], "matmul: border", R, K, M);
          continue;
        }
        double sum = accumulate ? before[m * ldy + r] : 0, magnitude = fabs(sum);
        for (size_t k = 0; k < K; k++) {
          double product = (double)x[m * ldx + k] * weights[r * K + k];
          sum += product;
          magnitude += fabs(product);
        }
        check(close_sums(got, (float)sum, K, magnitude), "matmul", R, K, M);
        if (m == 0) check(close_sums(vector[r], (float)sum, K, magnitude), "matvec", R, K, M);
      }
    }
  }
  for (int accumulate = 0; accumulate < 2; accumulate++) {
    float *dx = copy(x, 4 * M * ldx);
    begin = K > 70 ? 64 : 0;
    tested->matmul_backward(w, y, M, ldy, begin, K, dx, ldx, accumulate, scratch);
    for (size_t m = 0; m < M; m++) {
      for (size_t k = 0; k < ldx; k++) {
        double sum = accumulate ? x[m * ldx + k] : 0, magnitude = fabs(sum);
        if (k < begin || k >= K) {
          check(dx[m * ldx + k] == x[m * ldx + k], "matmul_backward: border", R, K, M);
          continue;
        }
        for (size_t r = 0; r < R; r++) {
          double product = (double)y[m * ldy + r] * weights[r * K + k];
          sum += product;
          magnitude += fabs(product);
        }
        check(close_sums(dx[m * ldx + k], (float)sum, R, magnitude), "matmul_backward", R, K, M);
      }
    }
  }
}

static void check_gemm(size_t M, size_t N, size_t K, int a_transposed, int b_transposed,
                       int accumulate) {
  size_t lda = (a_transposed ? M : K) + 3, ldb = (b_transposed ? K : N) + 1, ldc = N + 2;
  float *a = noise((a_transposed ? K : M) * lda), *b = noise((b_transposed ? N : K) * ldb);
  float *expected = noise(M * ldc), *c = copy(expected, M * ldc * sizeof *c);
  quant_gemm p = {.M = M, .N = N, .K = K, .alpha = 0.75f, .c = expected, .ldc = ldc};
  p.a = a, p.a_row = a_transposed ? 1 : lda, p.a_column = a_transposed ? lda : 1;
  p.b = b, p.b_row = b_transposed ? 1 : ldb, p.b_column = b_transposed ? ldb : 1;
  p.accumulate = accumulate;
  float *scratch = memory(QUANT_MATMUL_SCRATCH * sizeof *scratch);
  scalar->gemm(&p, scratch);
  p.c = c;
  tested->gemm(&p, scratch);
  for (size_t i = 0; i < M * ldc; i++) {
    // Products are below 0.75 * 4, and what is added to below 2.
    float magnitude = i % ldc < N ? 3 * (float)K + 2 : 0;
    check(close_sums(c[i], expected[i], K, magnitude), "gemm", M, N, K);
  }
}

// --- Low-rank terms ---

static void check_low_rank(size_t rank, size_t inputs, size_t outputs, quant_factor_type type) {
  size_t stride = quant_low_rank_stride(inputs), width = QUANT_LOW_RANK_PANEL;
  size_t a_count = rank * stride, b_count = (outputs + width - 1) / width * width * rank;
  float *a = noise(a_count), *b = noise(b_count);
  int8_t *a_bytes = memory(a_count), *b_bytes = memory(b_count);
  scalar->i8_from_f32(a, a_count, 63, a_bytes);
  scalar->i8_from_f32(b, b_count, 63, b_bytes);
  float *scales = memory(4 * rank);
  for (size_t r = 0; r < rank; r++) scales[r] = 1 / (63.0f * 63 * (float)(r + 1));
  quant_low_rank t = {.type = type, .rank = rank, .inputs = inputs, .outputs = outputs};
  t.a = type == QUANT_FACTOR_I8 ? (void *)a_bytes : a;
  t.b = type == QUANT_FACTOR_I8 ? (void *)b_bytes : b;
  t.scales = scales, t.scale = 0.75f;
  // Of A and B, and of U's summands, |x| being below 2.
  double largest = type == QUANT_FACTOR_I8 ? 127 : 2;
  double summand = 2 * largest * (type == QUANT_FACTOR_I8 ? scales[0] : 1);
  enum { ROWS = 13 };
  size_t ldx = inputs + 3, ldu = rank + 1, ldy = outputs + 2, end = outputs;
  float *x = noise(ROWS * ldx), *before = noise(ROWS * ldy);
  float *u[2], *y[2];
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    u[i] = memory(4 * ROWS * ldu);
    y[i] = copy(before, 4 * ROWS * ldy);
    // A few rows first, then the rest; cut ranks and outputs too.
    for (size_t m = 0, rows = 2; m < ROWS; m += rows, rows = ROWS - 2) {
      size_t cut = rank / 3, middle = outputs / 2 / width * width;
      kernels->low_rank_down(&t, x + m * ldx, ldx, rows, 0, cut, u[i] + m * ldu, ldu);
      kernels->low_rank_down(&t, x + m * ldx, ldx, rows, cut, rank, u[i] + m * ldu, ldu);
      const float *from = u[0] + m * ldu;
      kernels->low_rank_up(&t, from, ldu, rows, 0, middle, y[i] + m * ldy, ldy);
      kernels->low_rank_up(&t, from, ldu, rows, middle, end, y[i] + m * ldy, ldy);
    }
  }
  for (size_t i = 0; i < ROWS * ldu; i++) {
    check(close_sums(u[0][i], u[1][i], inputs, summand * (double)inputs), "down", rank, inputs,
          outputs);
  }
  for (size_t i = 0; i < ROWS * ldy; i++) {
    size_t o = i % ldy;
    double magnitude = fabs(before[i]);
    for (size_t r = 0; o < end && r < rank; r++)
      magnitude += fabs(u[0][i / ldy * ldu + r]) * 0.75 * largest;
    int same = o < end ? close_sums(y[0][i], y[1][i], rank, magnitude) : y[1][i] == before[i];
    check(same, "up", rank, inputs, outputs);
  }
  // A row alone has the same bits.
  float *alone = copy(before + 12 * ldy, 4 * ldy), *row = memory(4 * ldu);
  tested->low_rank_down(&t, x + 12 * ldx, ldx, 1, 0, rank, row, ldu);
  tested->low_rank_up(&t, u[0] + 12 * ldu, ldu, 1, 0, end, alone, ldy);
  check(!memcmp(row, u[1] + 12 * ldu, 4 * rank), "down of one row", rank, inputs, outputs);
  check(!memcmp(alone, y[1] + 12 * ldy, 4 * outputs), "up of one row", rank, inputs, outputs);
}

// --- Products of integers ---

static quant_tiles tiles(size_t rows, size_t columns, int bits) {
  size_t count = (rows + 15) / 16 * (columns / 64);
  quant_tiles t = {.bits = bits, .rows = rows, .columns = columns};
  t.codes = memory(count * 128 * (size_t)bits);
  t.scales = memory(count * 32);
  t.multiplier16 = 0.05f / (bits == 4 ? QUANT_INT16_LIMIT : 1);
  t.multiplier8 = 0.05f / (bits == 4 ? 112 : 1);
  for (int i = 0; i < 16; i++) {
    t.codebook16[i] = (int16_t)lrintf(nf4[i] * QUANT_INT16_LIMIT);
    t.codebook8[i] = (int8_t)lrintf(nf4[i] * 112);
  }
  return t;
}

static quant_activations activations(const quant_kernels *kernels, const float *x, size_t rows,
                                     size_t columns, quant_precision precision) {
  size_t groups = (rows + QUANT_GROUP - 1) / QUANT_GROUP;
  size_t blocks = groups * QUANT_GROUP * ((columns + 63) / 64);
  quant_activations a = {
      precision, rows, columns, memory(blocks * 64 * 2), memory(blocks * 4), memory(blocks * 4)};
  kernels->prepare(x, columns, 0, groups, &a);
  return a;
}

static void check_tiles(size_t R, size_t K, int bits) {
  quant_matrix w = matrix(bits == 4 ? QUANT_4BIT : QUANT_F32, R, K, K % 128 ? 64 : 128);
  size_t rows = (R + 15) / 16, tile_count = rows * (K / 64);
  quant_tiles t[2] = {tiles(R, K, bits), tiles(R, K, bits)};
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    (bits == 4 ? kernels->tile_4bit : kernels->tile_8bit)(&w, 20, 0, rows, &t[i]);
  }
  check(!memcmp(t[0].codes, t[1].codes, tile_count * 128 * (size_t)bits), "codes", R, K, bits);
  check(!memcmp(t[0].scales, t[1].scales, tile_count * 32), "scales", R, K, bits);
  float *scratch = memory(4 * QUANT_TILES_SCRATCH);
  size_t counts[] = {1, 2, 3, 5, 8, 25, 30};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    size_t M = counts[c], mark = pooled, half = R / 32 * 16;
    float *x = noise(M * K), *y = noise(M * R);
    if (M > 1) memset(x + K, 0, 64 * sizeof *x);
    for (int precision = 8; precision <= 16; precision += 8) {
      quant_activations a[2];
      for (int i = 0; i < 2; i++) {
        a[i] = activations(i ? tested : scalar, x, M, K, (quant_precision)precision);
      }
      for (int accumulate = 0; accumulate < 2; accumulate++) {
        float *out[2] = {copy(y, 4 * M * R), copy(y, 4 * M * R)};
        scalar->matmul_tiles(&t[0], &a[0], 0, R, out[0], R, accumulate, scratch);
        tested->matmul_tiles(&t[1], &a[1], 0, half, out[1], R, accumulate, scratch);
        tested->matmul_tiles(&t[1], &a[1], half, R, out[1], R, accumulate, scratch);
        check(!memcmp(out[0], out[1], 4 * M * R), "matmul_tiles", R, K, M);
      }
    }
    quant_activations a[2] = {activations(scalar, y, M, R, QUANT_INT16),
                              activations(tested, y, M, R, QUANT_INT16)};
    for (int accumulate = 0; accumulate < 2; accumulate++) {
      float *out[2] = {copy(x, 4 * M * K), copy(x, 4 * M * K)};
      scalar->matmul_tiles_backward(&t[0], &a[0], 0, K, out[0], K, accumulate, scratch);
      tested->matmul_tiles_backward(&t[1], &a[1], 0, 64, out[1], K, accumulate, scratch);
      tested->matmul_tiles_backward(&t[1], &a[1], 64, K, out[1], K, accumulate, scratch);
      check(!memcmp(out[0], out[1], 4 * M * K), "matmul_tiles_backward", R, K, M);
    }
    release(mark);
  }
}

// --- Attention ---

static float of_half(uint16_t half) {
  float x;
  scalar->f32_from_f16(&half, 1, &x);
  return x;
}

// Queries of the second of two heads, in two ranges of positions that are merged.
static void check_attention(size_t rows, size_t group, size_t positions, size_t D, float cap,
                            size_t window) {
  enum { HEADS = 2, HEAD = 1, BLOCK = QUANT_KV_BLOCK };
  size_t width = HEADS * D, queries = rows * group, ldq = group * D + 3, ldo = group * D + 2;
  size_t pages = (positions + QUANT_KV_PAGE - 1) / QUANT_KV_PAGE;
  size_t page = QUANT_KV_PAGE * width, bytes = 2 * 2 * page;
  float *k = noise(positions * width), *v = noise(positions * width), *q = noise(rows * ldq);
  k[0] = 1e6f, v[1] = -1e6f;
  quant_kv kv[2];
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    uint16_t **table = memory(pages * sizeof *table);
    for (size_t p = 0; p < pages; p++) {
      table[p] = memory(bytes);
      memset(table[p], 0xff, bytes);  // NaN, where nothing is written
    }
    kv[i] = (quant_kv){table, 0, page, HEADS, D};
    size_t first = positions / 2;
    kernels->kv_write(&kv[i], k, width, v, width, 0, first);
    kernels->kv_write(&kv[i], k + first * width, width, v + first * width, width, first,
                      positions - first);
  }
  for (size_t p = 0; p < pages; p++) {
    check(!memcmp(kv[0].pages[p], kv[1].pages[p], bytes), "kv_write", positions, D, p);
  }

  float *o = memory(8 * rows * ldo), *top = memory(8 * queries), *sum = memory(8 * queries);
  float *scratch = memory(4 * QUANT_ATTEND_SCRATCH);
  quant_scores how = {.scale = 0.3f, .cap = cap, .window = window};
  size_t past = positions > rows ? positions - rows : 0, middle = positions / 2 / BLOCK * BLOCK;
  for (size_t part = 0; part < 2; part++) {
    tested->attend(&kv[1], HEAD, q, ldq, rows, group, past, part ? middle : 0,
                   part ? positions : middle, &how, o + part * rows * ldo, ldo,
                   top + part * queries, sum + part * queries, scratch);
  }
  float *out = memory(4 * rows * ldo);
  tested->attend_merge(2, rows, group, D, o, ldo, top, sum, out, ldo);

  double *scores = memory(8 * positions);
  for (size_t m = 0; m < queries; m++) {
    size_t i = m / group, g = m % group, seen = past + i + 1 < positions ? past + i + 1 : positions;
    size_t begin = past + i + 1 > window ? past + i + 1 - window : 0;
    double highest = -INFINITY, total = 0, largest = 0;
    for (size_t j = begin; j < seen; j++) {
      double size = 0;
      scores[j] = 0;
      for (size_t d = 0; d < D; d++) {
        uint16_t key = quant_key(&kv[0], HEAD, j)[d * BLOCK];
        double product = (double)how.scale * q[i * ldq + g * D + d] * of_half(key);
        scores[j] += product;
        size += fabs(product);
      }
      largest = fmax(largest, size);
      if (cap > 0) scores[j] = cap * tanh(scores[j] / cap);
      highest = fmax(highest, scores[j]);
    }
    for (size_t j = begin; j < seen; j++) total += exp(scores[j] - highest);
    // A weight is off by the errors of two scores, their difference's, and an exponential's or two;
    // a sum by a rounding a position and a chunk.
    // A cap adds its own error, a few units in its last place.
    double score = (double)(D + 2) * 0x1p-24 * largest + 4e-7 * cap;
    double error = 2 * score + 2 * largest * 0x1p-24 + 6e-7 + (double)(seen + 8) * 0x1p-24;
    check(fabs(fmaxf(top[m], top[queries + m]) - highest) <= score, "attend: top", rows, group,
          positions);
    for (size_t c = 0; c < D; c++) {
      double value = 0, magnitude = 0;
      for (size_t j = begin; j < seen; j++) {
        double x = of_half(quant_value(&kv[0], HEAD, j)[c]);
        value += exp(scores[j] - highest) * x / total;
        magnitude += exp(scores[j] - highest) * fabs(x) / total;
      }
      double difference = fabs(out[i * ldo + g * D + c] - value);
      check(difference <= 2 * error * magnitude, "attend", rows, group, positions);
    }
  }
}

// --- RefLoRA's algebra ---

// Two float64 sums of n products in whatever order.
static int close_doubles(double a, double b, size_t n, double magnitude) {
  return fabs(a - b) <= 2 * (double)(n + 2) * 0x1p-53 * magnitude;
}

static void check_factor(size_t rank, size_t n, int is_tall) {
  double *scratch = memory(8 * quant_factor_scratch(rank)), *grams[2];
  float *x = noise(rank * n), *products[2];
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    products[i] = copy(x, 4 * rank * n);
    grams[i] = memory(8 * rank * rank);
    quant_factor f = {products[i], rank, n, is_tall};
    kernels->factor_gram(&f, grams[i], scratch);
    kernels->factor_multiply(grams[0], &f, scratch);
  }
  double squares = scalar->sum_of_squares(x, rank * n);
  check(close_doubles(tested->sum_of_squares(x, rank * n), squares, rank * n, squares),
        "sum_of_squares", rank, n, 0);
  for (size_t i = 0; i < rank * rank; i++) {
    // Cauchy and Schwarz bound the products' magnitudes.
    check(close_doubles(grams[1][i], grams[0][i], n, squares), "factor_gram", rank, n, i);
  }
  double largest = 0;
  for (size_t i = 0; i < rank * rank; i++) largest = fmax(largest, fabs(grams[0][i]));
  for (size_t i = 0; i < rank * n; i++) {
    double rounded = 0x1p-23 * fabs((double)products[0][i]);
    double difference = fabs((double)products[1][i] - products[0][i]);
    check(difference <= rounded + 1e-14 * largest * (double)rank, "factor_multiply", rank, n, i);
  }
}

static void check_means(size_t count, size_t rank) {
  size_t size = rank * rank;
  double *scratch = memory(8 * quant_factor_scratch(rank)), *pairs[2], *means[2], *inverses[2];
  for (int i = 0; i < 2; i++) {
    pairs[i] = memory(8 * count * size);
    means[i] = memory(8 * count * size);
    inverses[i] = memory(8 * count * size);
    for (size_t p = 0; p < count; p++) {
      quant_factor f = {noise(rank * 2 * (rank + 4)), rank, 2 * (rank + 4), 0};
      if (i == 1 && p % 4 == 2) memset(f.data, 0, 4 * rank * f.n);
      scalar->factor_gram(&f, pairs[i] + p * size, scratch);
    }
  }
  unsigned found[2];
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    found[i] = kernels->geometric_means(count, rank, 1e12, pairs[0], pairs[1], means[i],
                                        inverses[i], scratch);
  }
  check(found[0] == found[1], "geometric_means: found", count, rank, 0);
  for (size_t p = 0; p < count; p++) {
    check((found[0] >> p & 1) == (p % 4 != 2), "geometric_means: which", count, rank, p);
    double error = 0, norm = 0;
    for (size_t i = p * size; i < (p + 1) * size; i++) {
      error += pow(means[1][i] - means[0][i], 2) + pow(inverses[1][i] - inverses[0][i], 2);
      norm += pow(means[0][i], 2) + pow(inverses[0][i], 2);
    }
    // Rounding, times a condition of a few hundred.
    check(!(found[0] >> p & 1) || sqrt(error) <= 1e-11 * sqrt(norm), "geometric_means", count, rank,
          p);
  }
}

int main(void) {
  const quant_kernels *tables[8];
  size_t count = quant_kernels_supported(tables, 8);
  scalar = tables[0];
  for (size_t t = 1; t < count; t++) {
    tested = tables[t];
    printf("%s\n", tested->isa);
    size_t lengths[] = {0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 127, 257, 1000, 4097};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      check_nearest_products(lengths[i]);
      for (size_t block = 64; block <= 4096; block *= 8) check_quantize(lengths[i], block);
      check_bytes(lengths[i]);
      check_vectors(lengths[i]);
      check_norms(lengths[i]);
    }
    check_extremes();
    check_16_bits();
    release(0);
    size_t shapes[][2] = {{1, 1},   {2, 63},   {16, 64},  {17, 65},  {31, 32},
                          {33, 96}, {65, 128}, {15, 257}, {3, 4160}, {70, 33}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
      for (int type = QUANT_F32; type <= QUANT_4BIT; type++) {
        quant_matrix w = matrix((quant_type)type, shapes[i][0], shapes[i][1], i % 2 ? 64 : 128);
        size_t n = w.rows * w.columns;
        for (size_t first = 0; first < n && first < 70; first += 1 + first / 2) {
          check_dequantize(&w, first, n - first);
          check_dequantize(&w, first, n - first < 9 ? n - first : 9);
        }
        for (size_t M = 1; M < 20; M += 6) check_products(&w, M);
        release(0);
      }
    }
    size_t products[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {64, 40, 300}, {400, 16, 9}};
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
      for (int forms = 0; forms < 8; forms++) {
        check_gemm(products[i][0], products[i][1], products[i][2], forms & 1, forms & 2, forms & 4);
        release(0);
      }
    }
    size_t ranks[] = {1, 3, 4, 8, 9, 16, 33};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
      for (size_t n = 1; n < 300; n += 1 + n * 3 / 2) {
        check_low_rank(ranks[i], n, 301 - n, QUANT_FACTOR_F32);
        check_low_rank(ranks[i], n, 301 - n, QUANT_FACTOR_I8);
        release(0);
      }
    }
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
      for (size_t n = 1; n < 200; n += 1 + n * 3 / 2) {
        check_factor(ranks[i], n, 0);
        check_factor(ranks[i], n, 1);
      }
      for (size_t pairs = 1; pairs <= QUANT_PAIRS; pairs++) check_means(pairs, ranks[i]);
      release(0);
    }
    size_t queries[][2] = {{1, 1}, {1, 3}, {1, 8}, {2, 3}, {5, 1}, {64, 3}};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
      for (size_t D = 8; D <= 128; D += 24) {
        for (size_t positions = 1; positions < 400; positions += 1 + positions * 7 / 5) {
          check_attention(queries[i][0], queries[i][1], positions, D, 0, SIZE_MAX);
          check_attention(queries[i][0], queries[i][1], positions, D, 2, 100);
        }
        release(0);
      }
    }
    size_t rows[] = {1, 15, 17, 80, 200};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      for (size_t K = 64; K <= 576; K += i < 3 ? 64 : 512) {
        for (int bits = 4; bits <= 8; bits += 4) check_tiles(rows[i], K, bits);
        release(0);
      }
    }
  }
  printf("%d differences\n", failures);
  return failures > 0;
}
