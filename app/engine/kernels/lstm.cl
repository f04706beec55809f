// lstm_cell: one step of an LSTM, gates in the order (input,) forget, cell, output
//   g = x[b, FIRST + ...] + r[b]; c' = sigmoid(g_f) * c + sigmoid(g_i) * tanh(g_c);
//   h = sigmoid(g_o) * tanh(c')
// x [.., GATES*H] with row b of this step at row first + b*stride; r [B,GATES*H], c [B,H];
// h, c' [B,H]; float32. Work-item (j, b). With START r and c are zero and not read.
// Defines: GATES (4, or 3 where the input gate is 1 - forget) START
#define SIGMOID(v) (1.0f / (1.0f + exp(-(v))))
__kernel void lstm_cell(__global const float* restrict x, __global const float* restrict r,
                        __global const float* restrict c, __global float* restrict h,
                        __global float* restrict next, int B, int H, int first, int stride,
                        float clip)
{
    const int j = get_global_id(0), b = get_global_id(1);
    if (j >= H || b >= B) return;
    float g[4];
    for (int k = 0; k < GATES; k++) {
        g[k] = x[(first + b * stride) * GATES * H + k * H + j];
#if !START
        g[k] += r[b * GATES * H + k * H + j];
#endif
    }
    const float forget = SIGMOID(g[GATES - 3]);
    const float input = GATES == 4 ? SIGMOID(g[0]) : 1.0f - forget;
    float cell = input * tanh(g[GATES - 2]);
#if !START
    cell += forget * c[b * H + j];
#endif
    if (clip > 0.0f) cell = clamp(cell, -clip, clip);
    next[b * H + j] = cell;
    h[b * H + j] = SIGMOID(g[GATES - 1]) * tanh(cell);
}
