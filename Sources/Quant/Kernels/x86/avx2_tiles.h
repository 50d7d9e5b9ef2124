// Products of integers without VNNI: a register holds 8 rows of a tile, a word of it some columns.
//
// Words of activations are broadcast against it, so they lie as [block][row][64 columns], in order.
// A single row of activations is multiplied by weights as they are decoded; for more, a tile is
// decoded once into pairs of 16-bit weights, whatever the precision: 8-bit products would save
// nothing, for their sums in 16 bits overflow unless each is widened at once.
#pragma once

// --- Activations ---

// The low halves of 16 words in order. Words whose sign does not fit are NaN's, and become 0.
V __m256i narrow_to_16(__m256i a, __m256i b) {
  const __m256i low = _mm256_set1_epi32(0xffff);
  __m256i halves = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  return _mm256_permute4x64_epi64(halves, _MM_SHUFFLE(3, 1, 2, 0));
}

// The low bytes of 32 16-bit values in order.
V __m256i narrow_to_8(__m256i a, __m256i b) {
  const __m256i low = _mm256_set1_epi16(0xff);
  __m256i bytes = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  return _mm256_permute4x64_epi64(bytes, _MM_SHUFFLE(3, 1, 2, 0));
}

// Quantizes a block and returns its scale.
V float prepare_block(const float *x, size_t count, quant_precision precision, void *out) {
  vec v[8], top = v_zero(), sum = v_zero();
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    size_t first = 8 * (size_t)i;
    v[i] = count >= first + 8 ? v_load(x + first)
           : count > first    ? v_load_partial(x + first, count - first)
                              : v_zero();
    top = v_max(top, v_abs(v[i]));
    sum = v_add(sum, v_abs(v[i]));
  }
  float limit = precision == QUANT_INT16 ? QUANT_INT16_LIMIT : 127;
  float largest = v_any_nan(sum) ? NAN : v_maximum(top);
  int empty = largest < smallest_block;
  vec reciprocal = v_set(empty ? 0 : limit / largest);
  __m256i words[8], halves[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) words[i] = _mm256_cvtps_epi32(v_mul(v[i], reciprocal));
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) halves[i] = narrow_to_16(words[2 * i], words[2 * i + 1]);
  __m256i *to = out;
  if (precision == QUANT_INT16) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) _mm256_storeu_si256(to + i, halves[i]);
  } else {
    _mm256_storeu_si256(to, narrow_to_8(halves[0], halves[1]));
    _mm256_storeu_si256(to + 1, narrow_to_8(halves[2], halves[3]));
  }
  return empty ? 0 : largest / limit;
}

V float quantize_block(const float *x, int8_t *codes) {
  return prepare_block(x, 64, QUANT_INT8, codes);
}

static void prepare(const float *x, size_t ldx, size_t group_begin, size_t group_end,
                    quant_activations *out) {
  size_t columns = out->columns, bytes = out->precision == QUANT_INT16 ? 128 : 64;
  for (size_t g = group_begin; g < group_end && g * QUANT_GROUP < out->rows; g++) {
    size_t rows = group_rows(out, g);
    uint8_t *values = (uint8_t *)group_values(out, g);
    float *scales = out->scales + group_offset(out, g);
    for (size_t i = 0; i < rows; i++) {
      const float *row = x + (g * QUANT_GROUP + i) * ldx;
      for (size_t b = 0; b < blocks_of(columns); b++) {
        size_t count = smaller(64, columns - 64 * b), at = b * rows + i;
        scales[at] = prepare_block(row + 64 * b, count, out->precision, values + at * bytes);
      }
    }
  }
}

// --- Panels: pairs of 16-bit weights, two summands of 16 outputs a row ---

typedef struct {
  int32_t pairs[32][16];
} tile_panel;

// Rows of activations times a panel.
typedef struct {
  const tile_panel *panel;
  const int16_t *x;       // [rows][64]
  const float *x_scales;  // [rows]
  vec scales[2];          // of the outputs
  float *y;
  size_t ldy;
  size_t lanes;  // outputs that are stored
  int add;
} panel_product;

V vec load_lanes(const float *p, size_t lanes) {
  return lanes >= LANES ? v_load(p) : v_load_partial(p, lanes);
}

V void store_lanes(float *p, size_t lanes, vec v) {
  if (lanes >= LANES) {
    v_store(p, v);
  } else {
    v_store_partial(p, lanes, v);
  }
}

// y[lanes] (+)= sums * x_scale * scales
V void add_products(const __m256i sums[2], float x_scale, const vec scales[2], float *y,
                    size_t lanes, int add) {
#pragma clang loop unroll(full)
  for (size_t first = 0; first < 16; first += LANES) {
    if (first >= lanes) break;
    vec product = v_mul(_mm256_cvtepi32_ps(sums[first / LANES]), v_set(x_scale));
    vec total = add ? load_lanes(y + first, lanes - first) : v_zero();
    store_lanes(y + first, lanes - first, v_fma(product, scales[first / LANES], total));
  }
}

// 6 × 2 sums, 2 vectors of the panel, a broadcast and a product fill the 16 registers.
enum { PANEL_HEIGHT = 6 };

INLINE void multiply_panel_rows(size_t rows, const panel_product *t) {
  __m256i sums[PANEL_HEIGHT][2];
  const int32_t *x = (const void *)t->x;
#pragma clang loop unroll(full)
  for (size_t i = 0; i < rows; i++) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
    // Unrolled further, products are added before sums by the compiler, which runs out of
    // registers.
#pragma clang loop unroll_count(2)
  for (size_t p = 0; p < 32; p++) {
    __m256i low = _mm256_loadu_si256((const void *)t->panel->pairs[p]);
    __m256i high = _mm256_loadu_si256((const void *)(t->panel->pairs[p] + LANES));
#pragma clang loop unroll(full)
    for (size_t i = 0; i < rows; i++) {
      __m256i value = _mm256_set1_epi32(x[32 * i + p]);
      sums[i][0] = _mm256_add_epi32(sums[i][0], _mm256_madd_epi16(low, value));
      sums[i][1] = _mm256_add_epi32(sums[i][1], _mm256_madd_epi16(high, value));
    }
  }
  int whole = t->lanes == 16;
#pragma clang loop unroll(full)
  for (size_t i = 0; i < rows; i++) {
    float *y = t->y + i * t->ldy;
    if (whole) {
      add_products(sums[i], t->x_scales[i], t->scales, y, 16, t->add);
    } else {
      add_products(sums[i], t->x_scales[i], t->scales, y, t->lanes, t->add);
    }
  }
}

#define ROWS(n)                                                                           \
  static __attribute__((noinline)) void multiply_panel_rows_##n(const panel_product *t) { \
    multiply_panel_rows(n, t);                                                            \
  }
ROWS(1)
ROWS(2)
ROWS(3)
ROWS(4)
ROWS(5)
ROWS(6)
#undef ROWS
static void (*const panel_heights[PANEL_HEIGHT])(const panel_product *) = {
    multiply_panel_rows_1, multiply_panel_rows_2, multiply_panel_rows_3,
    multiply_panel_rows_4, multiply_panel_rows_5, multiply_panel_rows_6};

// All rows of a group, in parts of equal height.
static void multiply_group(panel_product t, size_t rows) {
  panel_product part = t;
  size_t count = (rows + PANEL_HEIGHT - 1) / PANEL_HEIGHT;
  for (size_t i = 0; i < count; i++) {
    size_t first = rows * i / count;
    part.x = t.x + 64 * first;
    part.x_scales = t.x_scales + first;
    part.y = t.y + first * t.ldy;
    panel_heights[rows * (i + 1) / count - first - 1](&part);
  }
}

// --- Forward ---

// What a product decodes tiles with: the bytes of a codebook, in both halves of a register.
typedef struct {
  __m256i low, high;  // of 16-bit values
  __m256i magnitudes, values;
  vec multiplier;
} tile_decoder;

V __m256i in_both_halves(const void *bytes) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes));
}

V tile_decoder decoder_of(const quant_tiles *w, quant_precision precision) {
  uint8_t low[16], high[16];
  for (int i = 0; i < 16; i++) {
    int value = precision == QUANT_INT16 ? w->codebook16[i] : w->codebook8[i];
    low[i] = (uint8_t)value;
    high[i] = (uint8_t)(value >> 8);
  }
  __m256i values = in_both_halves(w->codebook8);
  return (tile_decoder){
      .low = in_both_halves(low),
      .high = in_both_halves(high),
      .magnitudes = _mm256_abs_epi8(values),
      .values = values,
      .multiplier = v_set(precision == QUANT_INT16 ? w->multiplier16 : w->multiplier8)};
}

V void load_scales(const uint16_t *scales, vec multiplier, vec out[2]) {
  out[0] = v_mul(f32_of_f16(v16_load(scales)), multiplier);
  out[1] = v_mul(f32_of_f16(v16_load(scales + LANES)), multiplier);
}

// How far ahead of its use a tile is asked for: the latency of memory at the speed of a core.
enum { AHEAD = 4096 };

// The low and the high halves of bytes.
V void nibbles(__m256i bytes, __m256i codes[2]) {
  const __m256i mask = _mm256_set1_epi8(15);
  codes[0] = _mm256_and_si256(bytes, mask);
  codes[1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
}

// 32 codes as 16-bit weights: the lower 8 of each half of the register, the upper 8.
V void widen(int bits, __m256i codes, const tile_decoder *decoder, __m256i out[2]) {
  __m256i low = codes, high = _mm256_cmpgt_epi8(_mm256_setzero_si256(), codes);
  if (bits == 4) {
    low = _mm256_shuffle_epi8(decoder->low, codes);
    high = _mm256_shuffle_epi8(decoder->high, codes);
  }
  out[0] = _mm256_unpacklo_epi8(low, high);
  out[1] = _mm256_unpackhi_epi8(low, high);
}

// 8 rows by 8 columns of a tile at `codes`, their bytes shuffled, as 16-bit weights: two registers
// of the first four columns, two of the others.
V void widen_64(int bits, const uint8_t *codes, __m256i order, const tile_decoder *decoder,
                __m256i out[4]) {
  __m256i parts[2] = {_mm256_shuffle_epi8(_mm256_loadu_si256((const void *)codes), order)};
  if (bits == 4) {
    nibbles(parts[0], parts);
  } else {
    parts[1] = _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)(codes + 64)), order);
  }
  widen(bits, parts[0], decoder, out);
  widen(bits, parts[1], decoder, out + 2);
}

// The outputs are the rows of the tile, the summands its columns.
V void decode_tile(int bits, const uint8_t *codes, const tile_decoder *decoder, tile_panel *out) {
  // Of 4 rows of 4 columns: all rows' first two columns, then all rows' last two.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
#pragma clang loop unroll(disable)
  for (size_t g = 0; g < 8; g++) {
    const uint8_t *p = codes + (size_t)(16 * bits) * g;
    for (int line = 0; line < bits / 4; line++) {
      _mm_prefetch((const char *)p + 64 * line + AHEAD, _MM_HINT_T0);
    }
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
      __m256i pairs[4];
      widen_64(bits, p + 32 * half, order, decoder, pairs);
#pragma clang loop unroll(full)
      for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_si256((void *)(out->pairs[4 * g + i] + LANES * half), pairs[i]);
      }
    }
  }
}

// A row of tiles times a group of activations.
typedef struct {
  const uint8_t *codes;
  const uint16_t *scales;
  size_t blocks;
  tile_decoder decoder;
  const void *x;
  const float *x_scales;
  quant_precision precision;
  float *y;
  size_t ldy, rows;
  size_t lanes;  // rows of the tile that are no padding
  int accumulate;
} tile_row;

INLINE void multiply_tile_row(int bits, const tile_row *t) {
  tile_panel panel;
  int16_t wide[QUANT_GROUP * 64];
  size_t elements = 64 * t->rows;
  for (size_t b = 0; b < t->blocks; b++) {
    decode_tile(bits, t->codes + b * tile_bytes(bits), &t->decoder, &panel);
    const int16_t *x = (const int16_t *)t->x + b * elements;
    if (t->precision == QUANT_INT8) {
      const int8_t *bytes = (const int8_t *)t->x + b * elements;
      for (size_t i = 0; i < elements; i++) wide[i] = bytes[i];
      x = wide;
    }
    panel_product product = {.panel = &panel,
                             .x = x,
                             .x_scales = t->x_scales + b * t->rows,
                             .y = t->y,
                             .ldy = t->ldy,
                             .lanes = t->lanes,
                             .add = b > 0 || t->accumulate};
    load_scales(t->scales + 16 * b, t->decoder.multiplier, product.scales);
    multiply_group(product, t->rows);
  }
}

V __m256i add_madd(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

// The sums of a block for a single row of 16-bit activations.
V void single_sums_16(int bits, const uint8_t *codes, const tile_decoder *decoder, const int16_t *x,
                      __m256i out[2]) {
  __m256i sums[2][2] = {{_mm256_setzero_si256(), _mm256_setzero_si256()},
                        {_mm256_setzero_si256(), _mm256_setzero_si256()}};
#pragma clang loop unroll_count(2)
  for (size_t g = 0; g < 2 * (size_t)bits; g++) {
    const uint8_t *p = codes + 64 * g;
    _mm_prefetch((const char *)p + AHEAD, _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
      __m256i quadruples[2], parts[2];
      if (bits == 4) nibbles(_mm256_loadu_si256((const void *)(p + 32 * half)), parts);
#pragma clang loop unroll(full)
      for (size_t part = 0; part < 8 / (size_t)bits; part++) {
        int64_t value;
        memcpy(&value, x + 32 / (size_t)bits * g + 4 * part, sizeof value);
        if (bits == 4) {
          widen(4, parts[part], decoder, quadruples);
        } else {  // in order, and sooner
          const __m128i *rows = (const void *)(p + 32 * half);
          quadruples[0] = _mm256_cvtepi8_epi16(_mm_loadu_si128(rows));
          quadruples[1] = _mm256_cvtepi8_epi16(_mm_loadu_si128(rows + 1));
        }
        __m256i all = _mm256_set1_epi64x(value);
        sums[half][0] = add_madd(sums[half][0], quadruples[0], all);
        sums[half][1] = add_madd(sums[half][1], quadruples[1], all);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int half = 0; half < 2; half++) {
    out[half] = _mm256_hadd_epi32(sums[half][0], sums[half][1]);
    if (bits == 8) out[half] = _mm256_permute4x64_epi64(out[half], _MM_SHUFFLE(3, 1, 2, 0));
  }
}

// The same for 8-bit activations. One side of an 8-bit product is unsigned, and two of them are
// added in 16 bits, where up to 2 * 127² fits: so the signs of weights move to the activations.
V void single_sums_8(int bits, const uint8_t *codes, const tile_decoder *decoder, const int8_t *x,
                     __m256i out[2]) {
  const __m256i ones = _mm256_set1_epi16(1);
  out[0] = out[1] = _mm256_setzero_si256();
#pragma clang loop unroll_count(2)
  for (size_t g = 0; g < 2 * (size_t)bits; g++) {
    const uint8_t *p = codes + 64 * g;
    _mm_prefetch((const char *)p + AHEAD, _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (size_t half = 0; half < 2; half++) {
      __m256i bytes = _mm256_loadu_si256((const void *)(p + 32 * half)), parts[2];
      if (bits == 4) nibbles(bytes, parts);
#pragma clang loop unroll(full)
      for (size_t part = 0; part < 8 / (size_t)bits; part++) {
        int32_t value;
        memcpy(&value, x + 32 / (size_t)bits * g + 4 * part, sizeof value);
        __m256i weights = bytes, magnitudes;
        if (bits == 4) {
          weights = _mm256_shuffle_epi8(decoder->values, parts[part]);
          magnitudes = _mm256_shuffle_epi8(decoder->magnitudes, parts[part]);
        } else {
          magnitudes = _mm256_abs_epi8(bytes);
        }
        __m256i signs = _mm256_sign_epi8(_mm256_set1_epi32(value), weights);
        out[half] = add_madd(out[half], _mm256_maddubs_epi16(magnitudes, signs), ones);
      }
    }
  }
}

INLINE void multiply_tile_row_single(int bits, quant_precision precision, const tile_row *t) {
  tile_decoder decoder = t->decoder;
  vec totals[2] = {v_zero(), v_zero()};
  if (t->accumulate) {
    totals[0] = load_lanes(t->y, t->lanes);
    if (t->lanes > LANES) totals[1] = load_lanes(t->y + LANES, t->lanes - LANES);
  }
  for (size_t b = 0; b < t->blocks; b++) {
    const uint8_t *codes = t->codes + b * tile_bytes(bits);
    __m256i sums[2];
    if (precision == QUANT_INT16) {
      single_sums_16(bits, codes, &decoder, (const int16_t *)t->x + 64 * b, sums);
    } else {
      single_sums_8(bits, codes, &decoder, (const int8_t *)t->x + 64 * b, sums);
    }
    vec scales[2];
    load_scales(t->scales + 16 * b, decoder.multiplier, scales);
#pragma clang loop unroll(full)
    for (int v = 0; v < 2; v++) {
      vec product = v_mul(_mm256_cvtepi32_ps(sums[v]), v_set(t->x_scales[b]));
      totals[v] = v_fma(product, scales[v], totals[v]);
    }
  }
  store_lanes(t->y, t->lanes, totals[0]);
  if (t->lanes > LANES) store_lanes(t->y + LANES, t->lanes - LANES, totals[1]);
}

#define TILE_ROW(name, call) \
  static __attribute__((noinline)) void name(const tile_row *t) { call; }
TILE_ROW(tile_row_4, multiply_tile_row(4, t))
TILE_ROW(tile_row_8, multiply_tile_row(8, t))
TILE_ROW(single_4_16, multiply_tile_row_single(4, QUANT_INT16, t))
TILE_ROW(single_4_8, multiply_tile_row_single(4, QUANT_INT8, t))
TILE_ROW(single_8_16, multiply_tile_row_single(8, QUANT_INT16, t))
TILE_ROW(single_8_8, multiply_tile_row_single(8, QUANT_INT8, t))
#undef TILE_ROW

static void matmul_tiles(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                         size_t row_end, float *y, size_t ldy, int accumulate) {
  size_t blocks = w->columns / 64;
  int narrow = x->precision == QUANT_INT8;
  void (*several)(const tile_row *) = w->bits == 4 ? tile_row_4 : tile_row_8;
  void (*single)(const tile_row *) =
      w->bits == 4 ? (narrow ? single_4_8 : single_4_16) : (narrow ? single_8_8 : single_8_16);
  tile_row t = {.blocks = blocks,
                .decoder = decoder_of(w, x->precision),
                .precision = x->precision,
                .ldy = ldy,
                .accumulate = accumulate};
  for (size_t r = row_begin; r < row_end; r += QUANT_TILE_ROWS) {
    size_t tile = r / QUANT_TILE_ROWS * blocks;
    t.codes = w->codes + tile * tile_bytes(w->bits);
    t.scales = w->scales + tile * QUANT_TILE_ROWS;
    t.lanes = smaller(QUANT_TILE_ROWS, row_end - r);
    for (size_t g = 0; g * QUANT_GROUP < x->rows; g++) {
      t.x = group_values(x, g);
      t.x_scales = x->scales + group_offset(x, g);
      t.y = y + g * QUANT_GROUP * ldy + r;
      t.rows = group_rows(x, g);
      (t.rows == 1 ? single : several)(&t);
    }
  }
}

// --- Backward ---
//
// Sums run over rows of W: 64 columns of 64 rows are decoded into panels of 16 columns, which stay
// in the first-level cache while all of dY passes.

// The scales of 64 rows brought to the largest, as 15-bit fractions; returns the largest.
V float scale_ratios(const quant_tiles *w, size_t chunk, size_t block, int16_t ratios[64]) {
  size_t blocks = w->columns / 64;
  vec scales[8], top = v_zero();
#pragma clang loop unroll(full)
  for (size_t v = 0; v < 8; v++) {
    size_t row = 4 * chunk + v / 2;
    scales[v] = v_zero();
    if (row * QUANT_TILE_ROWS < w->rows) {
      const uint16_t *p = w->scales + (row * blocks + block) * QUANT_TILE_ROWS;
      scales[v] = f32_of_f16(v16_load(p + v % 2 * LANES));
    }
    top = v_max(top, scales[v]);
  }
  float largest = v_maximum(top);
  vec reciprocal = v_set(largest == 0 ? 0 : 32767 / largest);
#pragma clang loop unroll(full)
  for (size_t v = 0; v < 8; v += 2) {
    __m256i low = _mm256_cvtps_epi32(v_mul(scales[v], reciprocal));
    __m256i high = _mm256_cvtps_epi32(v_mul(scales[v + 1], reciprocal));
    _mm256_storeu_si256((void *)(ratios + LANES * v), narrow_to_16(low, high));
  }
  return largest;
}

// 8 rows of 8 columns of a tile: pairs of rows 0 2 4 6, columns in order, times the rows' ratios.
V void row_pairs(int bits, const uint8_t *codes, const tile_decoder *decoder,
                 const int32_t ratios[4], __m256i pairs[4]) {
  // Of 4 rows of 4 columns: the first two rows of each column, then the last two.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15));
  __m256i parts[4];
  widen_64(bits, codes, order, decoder, parts);
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) {
    // The halves of a register are rows 4 apart; those of the result, columns 4 apart.
    pairs[i] = _mm256_permute2x128_si256(parts[i], parts[2 + i], 0x20);
    pairs[2 + i] = _mm256_permute2x128_si256(parts[i], parts[2 + i], 0x31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    if (bits == 8) pairs[i] = _mm256_mullo_epi16(pairs[i], _mm256_set1_epi16(SPREAD));
    pairs[i] = _mm256_mulhrs_epi16(pairs[i], _mm256_set1_epi32(ratios[i]));
  }
}

// panels[4], each of 16 columns; returns the scale of all.
static float decode_panels(const quant_tiles *w, const tile_decoder *decoder, size_t chunk,
                           size_t block, tile_panel *panels) {
  size_t blocks = w->columns / 64;
  int32_t ratios[32];
  float largest = scale_ratios(w, chunk, block, (int16_t *)ratios);
  for (size_t half = 0; half < 8; half++) {  // of a tile: 8 rows
    size_t row = 4 * chunk + half / 2;
    int absent = row * QUANT_TILE_ROWS >= w->rows;
    const uint8_t *codes = w->codes + (row * blocks + block) * tile_bytes(w->bits) + half % 2 * 32;
    for (size_t k = 0; k < 64; k += LANES) {
      __m256i pairs[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
      if (!absent) {
        const uint8_t *p = codes + k * (size_t)(2 * w->bits);
        if (w->bits == 4) {
          row_pairs(4, p, decoder, ratios + 4 * half, pairs);
        } else {
          row_pairs(8, p, decoder, ratios + 4 * half, pairs);
        }
      }
#pragma clang loop unroll(full)
      for (size_t p = 0; p < 4; p++) {
        int32_t *out = panels[k / 16].pairs[4 * half + p] + k % 16;
        _mm256_storeu_si256((void *)out, pairs[p]);
      }
    }
  }
  return largest * w->multiplier16 / (w->bits == 8 ? SPREAD : 1);
}

static void matmul_tiles_backward(const quant_tiles *w, const quant_activations *dy,
                                  size_t col_begin, size_t col_end, float *dx, size_t ldx,
                                  int accumulate, int16_t *scratch) {
  tile_panel *panels = (void *)scratch;
  tile_decoder decoder = decoder_of(w, QUANT_INT16);
  size_t chunks = blocks_of(w->rows);
  for (size_t k = col_begin; k < col_end; k += 64) {
    for (size_t c = 0; c < chunks; c++) {
      vec scale = v_set(decode_panels(w, &decoder, c, k / 64, panels));
      for (size_t g = 0; g * QUANT_GROUP < dy->rows; g++) {
        size_t rows = group_rows(dy, g);
        panel_product product = {
            .x = (const int16_t *)group_values(dy, g) + c * rows * 64,
            .x_scales = dy->scales + group_offset(dy, g) + c * rows,
            .scales = {scale, scale},
            .ldy = ldx,
            .lanes = 16,
            .add = c > 0 || accumulate,
        };
        for (size_t p = 0; p < 4; p++) {
          product.panel = panels + p;
          product.y = dx + g * QUANT_GROUP * ldx + k + 16 * p;
          multiply_group(product, rows);
        }
      }
    }
  }
}
