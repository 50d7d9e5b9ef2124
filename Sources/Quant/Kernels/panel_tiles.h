// The integer products where weights are widened to 16 bits: what AVX2 and NEON share.
//
// A tile (forward) or 64 columns of 64 rows (backward) are decoded into panels of 64 summands by 16
// outputs, which stay in the first-level cache while rows of activations pass, PANEL_HEIGHT at a
// time. Activations lie as [block][row][64 columns], in order. 8-bit ones are widened too.
//
// An ISA file defines, before it includes this file:
//
//   tile_decoder        what a product decodes with, and decoder_of
//   PANEL_HEIGHT        rows of activations that the registers hold the sums of
//
// and after it the functions that are declared here without a body, and `matmul_tiles`.
#pragma once

#include "vector_kernels.h"
#include "vector_tiles.h"

// Rounds 64 floats to integers of `precision`; NaN becomes 0.
V void store_rounded(const vec x[64 / LANES], quant_precision precision, void *out);

// --- Activations ---

// Quantizes a block and returns its scale.
V float prepare_block(const float *x, size_t count, quant_precision precision, void *out) {
  vec v[64 / LANES], top = v_zero(), sum = v_zero();
#pragma clang loop unroll(full)
  for (size_t i = 0; i < 64 / LANES; i++) {
    size_t first = LANES * i;
    v[i] = count >= first + LANES ? v_load(x + first)
           : count > first        ? v_load_partial(x + first, count - first)
                                  : v_zero();
    top = v_max(top, v_abs(v[i]));
    sum = v_add(sum, v_abs(v[i]));
  }
  float limit = precision == QUANT_INT16 ? QUANT_INT16_LIMIT : 127;
  float largest = v_any_nan(sum) ? NAN : v_maximum(top);
  int empty = largest < smallest_block;
  vec reciprocal = v_set(empty ? 0 : limit / largest);
#pragma clang loop unroll(full)
  for (size_t i = 0; i < 64 / LANES; i++) v[i] = v_mul(v[i], reciprocal);
  store_rounded(v, precision, out);
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

// --- Rows of activations times a panel ---

// 64 summands of 16 outputs, in the order that `multiply_rows` wants, but 16 summands at a time.
typedef struct {
  int16_t weights[4][16 * 16];
} tile_panel;

typedef struct {
  const tile_panel *panel;
  const int16_t *x;        // [rows][64]
  const float *x_scales;   // [rows]
  vec scales[16 / LANES];  // of the outputs
  float *y;
  size_t ldy;
  size_t lanes;  // outputs that are stored
  int add;
} panel_product;

// One function a height: 1 ... PANEL_HEIGHT rows.
static void (*const panel_heights[PANEL_HEIGHT])(const panel_product *);

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

V void add_some_products(const panel_product *t, size_t row, const vec sums[16 / LANES],
                         size_t lanes) {
  float *y = t->y + row * t->ldy;
#pragma clang loop unroll(full)
  for (size_t first = 0; first < 16; first += LANES) {
    if (first >= lanes) break;
    vec product = v_mul(sums[first / LANES], v_set(t->x_scales[row]));
    vec total = t->add ? load_lanes(y + first, lanes - first) : v_zero();
    store_lanes(y + first, lanes - first, v_fma(product, t->scales[first / LANES], total));
  }
}

// y[row] (+)= sums * x_scale * scales
V void add_products(const panel_product *t, size_t row, const vec sums[16 / LANES]) {
  if (t->lanes == 16) {
    add_some_products(t, row, sums, 16);
  } else {
    add_some_products(t, row, sums, t->lanes);
  }
}

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

// The outputs are the rows of the tile, the summands its columns.
V void decode_tile(int bits, const uint8_t *codes, const tile_decoder *decoder, tile_panel *out);

V void load_scales(const uint16_t *scales, float multiplier, vec out[16 / LANES]) {
#pragma clang loop unroll(full)
  for (size_t v = 0; v < 16 / LANES; v++) {
    out[v] = v_mul(f32_of_f16(v16_load(scales + LANES * v)), v_set(multiplier));
  }
}

// How far ahead of its use a tile is asked for: the latency of memory at the speed of a core.
enum { TILE_AHEAD = 4096 };

// A row of tiles times a group of activations.
typedef struct {
  const uint8_t *codes;
  const uint16_t *scales;
  size_t blocks;
  tile_decoder decoder;
  float multiplier;
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
    load_scales(t->scales + 16 * b, t->multiplier, product.scales);
    multiply_group(product, t->rows);
  }
}

typedef void multiply_row(const tile_row *t);

static void tile_row_4(const tile_row *t) { multiply_tile_row(4, t); }
static void tile_row_8(const tile_row *t) { multiply_tile_row(8, t); }

// `single`, if there is one, multiplies groups of one row.
V void matmul_tile_rows(const quant_tiles *w, const quant_activations *x, size_t row_begin,
                        size_t row_end, float *y, size_t ldy, int accumulate,
                        multiply_row *single) {
  size_t blocks = w->columns / 64;
  multiply_row *several = w->bits == 4 ? tile_row_4 : tile_row_8;
  tile_row t = {.blocks = blocks,
                .decoder = decoder_of(w, x->precision),
                .multiplier = x->precision == QUANT_INT16 ? w->multiplier16 : w->multiplier8,
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
      (t.rows == 1 && single ? single : several)(&t);
    }
  }
}

// --- Backward ---

// A tile's 16 rows, times their ratios, to summands 16 part ..< 16 part + 16 of 4 panels, whose
// outputs are columns.
V void decode_rows(int bits, const uint8_t *codes, const tile_decoder *decoder,
                   const int16_t ratios[16], size_t part, tile_panel panels[4]);

// The scales of 64 rows brought to the largest, as 15-bit fractions; returns the largest.
V float scale_ratios(const quant_tiles *w, size_t chunk, size_t block, int16_t ratios[64]) {
  size_t blocks = w->columns / 64;
  vec scales[64 / LANES], top = v_zero();
#pragma clang loop unroll(full)
  for (size_t v = 0; v < 64 / LANES; v++) {
    size_t row = 4 * chunk + v * LANES / 16;
    scales[v] = v_zero();
    if (row * QUANT_TILE_ROWS < w->rows) {
      const uint16_t *p = w->scales + (row * blocks + block) * QUANT_TILE_ROWS;
      scales[v] = f32_of_f16(v16_load(p + v * LANES % 16));
    }
    top = v_max(top, scales[v]);
  }
  float largest = v_maximum(top);
  vec reciprocal = v_set(largest == 0 ? 0 : 32767 / largest);
#pragma clang loop unroll(full)
  for (size_t v = 0; v < 64 / LANES; v++) scales[v] = v_mul(scales[v], reciprocal);
  store_rounded(scales, QUANT_INT16, ratios);
  return largest;
}

// panels[4], each of 16 columns; returns the scale of all.
static float decode_panels(const quant_tiles *w, const tile_decoder *decoder, size_t chunk,
                           size_t block, tile_panel panels[4]) {
  size_t blocks = w->columns / 64;
  int16_t ratios[64];
  float largest = scale_ratios(w, chunk, block, ratios);
  for (size_t part = 0; part < 4; part++) {
    size_t row = 4 * chunk + part;
    const uint8_t *codes = w->codes + (row * blocks + block) * tile_bytes(w->bits);
    if (row * QUANT_TILE_ROWS >= w->rows) {
      for (size_t p = 0; p < 4; p++) memset(panels[p].weights[part], 0, sizeof *panels->weights);
    } else if (w->bits == 4) {
      decode_rows(4, codes, decoder, ratios + 16 * part, part, panels);
    } else {
      decode_rows(8, codes, decoder, ratios + 16 * part, part, panels);
    }
  }
  return largest * w->multiplier16 / (w->bits == 8 ? SPREAD : 1);
}

static void matmul_tiles_backward(const quant_tiles *w, const quant_activations *dy,
                                  size_t col_begin, size_t col_end, float *dx, size_t ldx,
                                  int accumulate, float *scratch) {
  tile_panel *panels = (void *)scratch;
  _Static_assert(4 * sizeof *panels <= QUANT_TILES_SCRATCH * sizeof *scratch, "64 columns");
  tile_decoder decoder = decoder_of(w, QUANT_INT16);
  size_t chunks = blocks_of(w->rows);
  for (size_t k = col_begin; k < col_end; k += 64) {
    for (size_t c = 0; c < chunks; c++) {
      float scale = decode_panels(w, &decoder, c, k / 64, panels);
      for (size_t g = 0; g * QUANT_GROUP < dy->rows; g++) {
        size_t rows = group_rows(dy, g);
        panel_product product = {
            .x = (const int16_t *)group_values(dy, g) + c * rows * 64,
            .x_scales = dy->scales + group_offset(dy, g) + c * rows,
            .ldy = ldx,
            .lanes = 16,
            .add = c > 0 || accumulate,
        };
        for (size_t v = 0; v < 16 / LANES; v++) product.scales[v] = v_set(scale);
        for (size_t p = 0; p < 4; p++) {
          product.panel = panels + p;
          product.y = dx + g * QUANT_GROUP * ldx + k + 16 * p;
          multiply_group(product, rows);
        }
      }
    }
  }
}
