// What a core can do at best: loops of nothing but independent multiply-adds in registers.
#pragma once

#include <stddef.h>

// Each runs `count` rounds and returns the operations done: a multiplication and an addition are
// two. On a processor without the instructions it returns 0.
double ceiling_fp32(int is_avx512, size_t count);
double ceiling_bf16(int is_avx512, size_t count);
double ceiling_int16(int is_avx512, size_t count);
double ceiling_int8(int is_avx512, size_t count);
