// lstm_cell: one step of an LSTM, gates in the order (input,) forget, cell, output
//   g = x[b, FIRST + ...] + r[b]; c' = sigmoid(g_f) * c + sigmoid(g_i) * tanh(g_c);
//   h = sigmoid(g_o) * tanh(c')
// x [.., GATES*H] with row b of this step at row first + b*stride; r [B,GATES*H], c [B,H];
// h, c' [B,H]; float32. Work-item (j, b). With START r and c are zero and not read.
// With PEEP g_i and g_f also have p_i * c and p_f * c, and g_o has p_o * c'; p [(GATES-1)*H].
// Defines: GATES (4, or 3 where the input gate is 1 - forget) START PEEP
// OLD: x and r have the gates in the order input, cell, forget, output
// INTEGER: all values are integers held in floats, as TFLite's 8x8_16 form has them: x and r in
// steps of 2^-12, c in steps of cell, gates and tanh in steps of 2^-15, h in steps of hidden; p is real.
#define OF_SUM(v) (clamp(v, -32768.0f, 32767.0f) / 4096.0f)
#define SHARE(v) clamp(rint((v) * 32768.0f), -32767.0f, 32767.0f)
#if INTEGER
#define PEEPED(v) rint((v) * cell * 4096.0f)
#else
#define PEEPED(v) (v)
#endif
#define SIGMOID(v) (1.0f / (1.0f + exp(-(v))))
__kernel void lstm_cell(__global const float* restrict x, __global const float* restrict r,
                        __global const float* restrict c, __global const float* restrict p,
                        __global float* restrict h, __global float* restrict next, int B, int H,
                        int first, int stride, float clip, float cell, float hidden, float lo,
                        float hi)
{
    const int j = get_global_id(0), b = get_global_id(1);
    if (j >= H || b >= B) return;
    float g[4];
    for (int k = 0; k < GATES; k++) {
        const int at = (OLD && k % 3 ? 3 - k : k) * H + j;
        g[k] = x[(first + b * stride) * GATES * H + at];
#if !START
        g[k] += r[b * GATES * H + at];
#if PEEP
        if (k < GATES - 2) g[k] += PEEPED(p[at] * c[b * H + j]);
#endif
#endif
    }
#if INTEGER
    for (int k = 0; k < GATES - 1; k++) {
        const float v = OF_SUM(g[k]);
        g[k] = k == GATES - 2 ? SHARE(tanh(v)) : SHARE(SIGMOID(v));
    }
    const float forget = g[GATES - 3], input = GATES == 4 ? g[0] : 32767.0f - forget;
    float sum = rint(input * g[GATES - 2] * 0x1p-30f / cell);
#if !START
    sum += rint(forget * c[b * H + j] * 0x1p-15f);
#endif
    sum = clamp(sum, -32768.0f, 32767.0f);
    if (clip > 0.0f) sum = clamp(sum, -clip / cell, clip / cell);
    next[b * H + j] = sum;
#if PEEP
    g[GATES - 1] += PEEPED(p[(GATES - 2) * H + j] * sum);
#endif
    const float leave = SHARE(SIGMOID(OF_SUM(g[GATES - 1])));
    h[b * H + j] = clamp(rint(leave * SHARE(tanh(sum * cell)) * 0x1p-30f / hidden), lo, hi);
#else
    const float forget = SIGMOID(g[GATES - 3]);
    const float input = GATES == 4 ? SIGMOID(g[0]) : 1.0f - forget;
    float sum = input * tanh(g[GATES - 2]);
#if !START
    sum += forget * c[b * H + j];
#endif
    if (clip > 0.0f) sum = clamp(sum, -clip, clip);
    next[b * H + j] = sum;
#if PEEP
    g[GATES - 1] += p[(GATES - 2) * H + j] * sum;
#endif
    h[b * H + j] = SIGMOID(g[GATES - 1]) * tanh(sum);
#endif
}
