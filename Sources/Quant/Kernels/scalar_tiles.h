// The definition of the products of integers: plain loops. Included by scalar.c.
#pragma once

// Below this a block counts as zero: the reciprocal of its scale would overflow.
static const float smallest_block = 1e-30f;

static size_t blocks_of(size_t columns) {
  return (columns + QUANT_TILE_COLUMNS - 1) / QUANT_TILE_COLUMNS;
}

// The largest magnitude of a block; NaN if one is.
static float largest_of(const float *block) {
  float largest = 0, sum = 0;
  for (int k = 0; k < 64; k++) {
    largest = fmaxf(largest, fabsf(block[k]));
    sum += fabsf(block[k]);
  }
  return isnan(sum) ? NAN : largest;
}

// The byte with the code of row r, column k.
static uint8_t *tile_byte(const quant_tiles *w, size_t r, size_t k) {
  size_t tile = r / 16 * (w->columns / 64) + k / 64, run = w->bits == 4 ? 8 : 4;
  return w->codes + tile * (size_t)(16 * 64 * w->bits / 8) + k % 64 / run * 64 + r % 16 * 4 + k % 4;
}

static uint16_t *tile_scale(const quant_tiles *w, size_t r, size_t k) {
  return w->scales + (r / 16 * (w->columns / 64) + k / 64) * 16 + r % 16;
}

// The weight's integer for products with activations of this precision.
static int32_t tile_code(const quant_tiles *w, quant_precision precision, size_t r, size_t k) {
  uint8_t byte = *tile_byte(w, r, k);
  if (w->bits == 8) return (int8_t)byte;
  uint8_t code = k % 8 < 4 ? byte & 15 : byte >> 4;
  return precision == QUANT_INT16 ? w->codebook16[code] : w->codebook8[code];
}

static float tile_multiplier(const quant_tiles *w, quant_precision precision) {
  return precision == QUANT_INT16 ? w->multiplier16 : w->multiplier8;
}

static void tile_4bit(const quant_matrix *w, float unit, size_t begin, size_t end,
                      quant_tiles *out) {
  for (size_t r = 16 * begin; r < 16 * end; r++) {
    for (size_t k = 0; k < w->columns; k++) {
      size_t i = r * w->columns + k;
      int beyond = r >= w->rows;
      uint8_t pair = beyond ? 0 : ((const uint8_t *)w->data)[i / 2];
      uint8_t code = i % 2 ? pair & 15 : pair >> 4;
      uint8_t *byte = tile_byte(out, r, k);
      *byte = k % 8 < 4 ? code : (uint8_t)(*byte | code << 4);
      if (k % 64 == 0) {
        *tile_scale(out, r, k) = beyond ? 0 : f16_of_f32(w->absmax[i / w->block_size] * unit);
      }
    }
  }
}

static void tile_8bit(const quant_matrix *w, float unit, size_t begin, size_t end,
                      quant_tiles *out) {
  for (size_t r = 16 * begin; r < 16 * end; r++) {
    for (size_t b = 0; b < w->columns; b += 64) {
      float block[64] = {0};
      if (r < w->rows) quant_kernels_scalar.dequantize_f32(w, r * w->columns + b, 64, block);
      float largest = largest_of(block);
      int empty = largest < smallest_block;
      float reciprocal = empty ? 0 : 127 / largest;
      *tile_scale(out, r, b) = f16_of_f32(empty ? 0 : largest / 127 * unit);
      for (int k = 0; k < 64; k++) {
        *tile_byte(out, r, b + (size_t)k) = (uint8_t)(int8_t)lrintf(block[k] * reciprocal);
      }
    }
  }
}

// Here the rows of a group lie one after the other, columns in order.
static void prepare(const float *x, size_t ldx, size_t group_begin, size_t group_end,
                    quant_activations *out) {
  size_t blocks = blocks_of(out->columns);
  float limit = out->precision == QUANT_INT16 ? QUANT_INT16_LIMIT : 127;
  for (size_t m = group_begin * QUANT_GROUP; m < out->rows && m < group_end * QUANT_GROUP; m++) {
    for (size_t b = 0; b < blocks; b++) {
      float block[64] = {0};
      size_t count = out->columns - 64 * b < 64 ? out->columns - 64 * b : 64;
      memcpy(block, x + m * ldx + 64 * b, count * sizeof *x);
      float largest = largest_of(block);
      float reciprocal = largest < smallest_block ? 0 : limit / largest;
      int32_t sum = 0;
      for (size_t k = 0; k < 64; k++) {
        int32_t value = (int32_t)lrintf(block[k] * reciprocal);
        size_t i = (m * blocks + b) * 64 + k;
        if (out->precision == QUANT_INT16) {
          ((int16_t *)out->values)[i] = (int16_t)value;
        } else {
          ((int8_t *)out->values)[i] = (int8_t)value;
        }
        sum += value;
      }
      out->scales[m * blocks + b] = largest < smallest_block ? 0 : largest / limit;
      out->sums[m * blocks + b] = -128 * sum;
    }
  }
}

static int32_t activation(const quant_activations *x, size_t m, size_t k) {
  size_t i = m * blocks_of(x->columns) * 64 + k;
  return x->precision == QUANT_INT16 ? ((const int16_t *)x->values)[i]
                                     : ((const int8_t *)x->values)[i];
}

static void matmul_tiles(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                         size_t row_end, float *y, size_t ldy, int accumulate, float *scratch) {
  (void)scratch;
  size_t blocks = w->columns / 64;
  float multiplier = tile_multiplier(w, x->precision);
  for (size_t m = 0; m < x->rows; m++) {
    for (size_t r = row_begin; r < row_end; r++) {
      float total = accumulate ? y[m * ldy + r] : 0;
      for (size_t b = 0; b < blocks; b++) {
        int32_t sum = 0;
        for (size_t k = 64 * b; k < 64 * b + 64; k++) {
          sum += tile_code(w, x->precision, r, k) * activation(x, m, k);
        }
        float scale = f32_of_f16(*tile_scale(w, r, 64 * b)) * multiplier;
        total = fmaf((float)sum * x->scales[m * blocks + b], scale, total);
      }
      y[m * ldy + r] = total;
    }
  }
}

// The 64 rows that are summed in int32 have a scale each: their codes are brought to the largest.
// 8-bit codes are spread over the range of 16-bit ones first.
enum { SPREAD = QUANT_INT16_LIMIT / 128 };

static void matmul_tiles_backward(const quant_tiles *w, const quant_activations *dy,
                                  size_t col_begin, size_t col_end, float *dx, size_t ldx,
                                  int accumulate, float *scratch) {
  (void)scratch;
  size_t chunks = blocks_of(w->rows);
  for (size_t m = 0; m < dy->rows; m++) {
    for (size_t k = col_begin; k < col_end; k++) {
      float total = accumulate ? dx[m * ldx + k] : 0;
      for (size_t c = 0; c < chunks; c++) {
        size_t end = w->rows < 64 * c + 64 ? w->rows : 64 * c + 64;
        float largest = 0;
        for (size_t r = 64 * c; r < end; r++) {
          largest = fmaxf(largest, f32_of_f16(*tile_scale(w, r, k)));
        }
        float reciprocal = largest == 0 ? 0 : 32767 / largest;
        int32_t sum = 0;
        for (size_t r = 64 * c; r < end; r++) {
          int32_t ratio = (int32_t)lrintf(f32_of_f16(*tile_scale(w, r, k)) * reciprocal);
          int32_t code = tile_code(w, QUANT_INT16, r, k) * (w->bits == 8 ? SPREAD : 1);
          sum += ((code * ratio + (1 << 14)) >> 15) * activation(dy, m, r);
        }
        float scale = largest * w->multiplier16 / (w->bits == 8 ? SPREAD : 1);
        total = fmaf((float)sum * dy->scales[m * chunks + c], scale, total);
      }
      dx[m * ldx + k] = total;
    }
  }
}
