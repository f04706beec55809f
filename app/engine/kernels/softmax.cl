// Rows of K floats, R of them; float32. Work-item r owns row r.
// softmax:     y = exp(beta * (x - max)) / sum
// log_softmax: y = x - max - log(sum of exp(x - max))
// l2_norm:     y = x / sqrt(max(sum of x*x, 1e-6))
// Defines: VW (its remainder is done one by one)
#define ROW                                           \
    const int r = get_global_id(0);                   \
    if (r >= R) return;                               \
    x += r * K;                                       \
    y += r * K;                                       \
    const int whole = K - K % VW;

inline float sum_of(VT v)
{
    float t[VW], s = 0.0f;
    TO_ARRAY(v, t);
    UNROLL for (int i = 0; i < VW; i++) s += t[i];
    return s;
}

inline float max_of(__global const float* x, int K)
{
    const int whole = K - K % VW;
    float m = -INFINITY;
    if (whole) {
        VT v = VLOAD(x);
        for (int i = VW; i < whole; i += VW) { const VT in = VLOAD(x + i); v = v < in ? in : v; }
        float t[VW];
        TO_ARRAY(v, t);
        for (int i = 0; i < VW; i++) m = m < t[i] ? t[i] : m;
    }
    for (int i = whole; i < K; i++) m = m < x[i] ? x[i] : m;
    return m;
}

__kernel void softmax(__global const float* restrict x, __global float* restrict y, int R, int K,
                      float beta)
{
    ROW
    const float m = max_of(x, K);
    VT sums = (VT)(0.0f);
    for (int i = 0; i < whole; i += VW) {
        const VT e = exp((VLOAD(x + i) - m) * beta);
        sums += e;
        VSTORE(e, y + i);
    }
    float s = sum_of(sums);
    for (int i = whole; i < K; i++) { y[i] = exp((x[i] - m) * beta); s += y[i]; }
    const float scale = 1.0f / s;
    for (int i = 0; i < whole; i += VW) VSTORE(VLOAD(y + i) * scale, y + i);
    for (int i = whole; i < K; i++) y[i] *= scale;
}

__kernel void log_softmax(__global const float* restrict x, __global float* restrict y, int R,
                          int K)
{
    ROW
    const float m = max_of(x, K);
    VT sums = (VT)(0.0f);
    for (int i = 0; i < whole; i += VW) sums += exp(VLOAD(x + i) - m);
    float s = sum_of(sums);
    for (int i = whole; i < K; i++) s += exp(x[i] - m);
    const float shift = m + log(s);
    for (int i = 0; i < K; i++) y[i] = x[i] - shift;
}

__kernel void l2_norm(__global const float* restrict x, __global float* restrict y, int R, int K)
{
    ROW
    VT sums = (VT)(0.0f);
    for (int i = 0; i < whole; i += VW) sums += VLOAD(x + i) * VLOAD(x + i);
    float s = sum_of(sums);
    for (int i = whole; i < K; i++) s += x[i] * x[i];
    const float scale = 1.0f / sqrt(s < 1e-6f ? 1e-6f : s);
    for (int i = 0; i < K; i++) y[i] = x[i] * scale;
}
