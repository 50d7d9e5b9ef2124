// What the integer products of every instruction set share: where things lie, and the packing of
// weights into tiles, which is done once, when a model is loaded.
#pragma once

// As in scalar_tiles.h.
static const float smallest_block = 1e-30f;
enum { SPREAD = QUANT_INT16_LIMIT / 128 };

V size_t blocks_of(size_t columns) { return (columns + 63) / 64; }

V size_t tile_bytes(int bits) { return (size_t)(QUANT_TILE_ROWS * QUANT_TILE_COLUMNS / 8 * bits); }

// 4 bytes of bitsandbytes' order (8 columns, the first in the high nibble) in a tile's.
V uint32_t tile_word(uint32_t pairs) {
  uint32_t even = pairs >> 4 & 0x0f0f0f0f, odd = pairs & 0x0f0f0f0f;  // columns 0 2 4 6, 1 3 5 7
  even |= even >> 16 << 4;                                            // 0|4, 2|6
  odd |= odd >> 16 << 4;                                              // 1|5, 3|7
  return (even & 0xff) | (odd & 0xff) << 8 | (even & 0xff00) << 8 | (odd & 0xff00) << 16;
}

static void tile_4bit(const quant_matrix *w, float unit, size_t begin, size_t end,
                      quant_tiles *out) {
  static const uint8_t zeros[16];
  size_t blocks = w->columns / 64, bytes = tile_bytes(4);
  int shift = __builtin_ctzll(w->block_size);
  for (size_t tile_row = begin; tile_row < end; tile_row++) {
    size_t rows = smaller(16, w->rows - tile_row * 16);
    for (size_t b = 0; b < blocks; b++) {
      uint32_t *to = (uint32_t *)(void *)(out->codes + (tile_row * blocks + b) * bytes);
      size_t first[16];
      float absmax[16] = {0};
      for (size_t j = 0; j < rows; j++) {
        first[j] = (tile_row * 16 + j) * w->columns + 64 * b;
        absmax[j] = w->absmax[first[j] >> shift] * unit;
      }
      f16_from_f32(absmax, 16, out->scales + (tile_row * blocks + b) * 16);
      // 16 bytes of LANES rows are transposed as 32-bit words, of 8 columns each.
      for (size_t j = 0; j < 16; j += LANES) {
        for (size_t half = 0; half < 2; half++) {
          const uint8_t *codes[LANES];
          for (size_t i = 0; i < LANES; i++) {
            codes[i] =
                j + i < rows ? (const uint8_t *)w->data + first[j + i] / 2 + 16 * half : zeros;
          }
          word words[4];
          load_words(codes, words);
          for (size_t k = 0; k < 4; k++) {
            uint32_t pairs[LANES];
            memcpy(pairs, &words[k], sizeof pairs);
            uint32_t *column = to + 16 * (4 * half + k) + j;
            for (size_t i = 0; i < LANES; i++) column[i] = tile_word(pairs[i]);
          }
        }
      }
    }
  }
}

// Quantizes 64 weights to 8 bits and returns their scale; each instruction set has its own.
V float quantize_block(const float *x, int8_t *codes);

static void tile_8bit(const quant_matrix *w, float unit, size_t begin, size_t end,
                      quant_tiles *out) {
  size_t blocks = w->columns / 64, bytes = tile_bytes(8);
  for (size_t tile_row = begin; tile_row < end; tile_row++) {
    size_t rows = smaller(16, w->rows - tile_row * 16);
    for (size_t b = 0; b < blocks; b++) {
      uint8_t *codes = out->codes + (tile_row * blocks + b) * bytes;
      float scales[16] = {0};
      for (size_t j = 0; j < 16; j++) {
        float block[64] = {0};
        int8_t row[64];
        if (j < rows) decode(w, (tile_row * 16 + j) * w->columns + 64 * b, 64, block);
        scales[j] = quantize_block(block, row) * unit;
        for (size_t g = 0; g < 16; g++) memcpy(codes + 64 * g + 4 * j, row + 4 * g, 4);
      }
      f16_from_f32(scales, 16, out->scales + (tile_row * blocks + b) * 16);
    }
  }
}

// --- Activations: where a group lies, whatever the order within it ---

V size_t group_rows(const quant_activations *x, size_t group) {
  return smaller(QUANT_GROUP, x->rows - group * QUANT_GROUP);
}

V int32_t *group_values(const quant_activations *x, size_t group) {
  size_t elements = group * QUANT_GROUP * blocks_of(x->columns) * 64;
  return (int32_t *)x->values + elements / (x->precision == QUANT_INT16 ? 2 : 4);
}

V size_t group_offset(const quant_activations *x, size_t group) {
  return group * QUANT_GROUP * blocks_of(x->columns);
}
