// Rows of K floats, R of them; float32. A wavefront of 64 owns row r = group id, lanes side by side.
// softmax_gpu:     y = exp(beta * (x - max)) / sum
// log_softmax_gpu: y = x - max - log(sum of exp(x - max))
// l2_norm_gpu:     y = x / sqrt(max(sum of x*x, 1e-6))
#define ROW                                           \
    __local float lanes[64];                          \
    const int l = get_local_id(0);                    \
    x += get_group_id(0) * K;                         \
    y += get_group_id(0) * K;

// Every lane gets FOLD(a, b) over all lanes' values.
#define ALL(FOLD)                                     \
    for (int step = 32; step > 0; step /= 2) {        \
        lanes[l] = v;                                 \
        barrier(CLK_LOCAL_MEM_FENCE);                 \
        const float a = v, b = lanes[l ^ step];       \
        v = FOLD;                                     \
        barrier(CLK_LOCAL_MEM_FENCE);                 \
    }                                                 \
    return v;
inline float sum_of(__local float* lanes, int l, float v)
{
    ALL(a + b)
}
inline float max_of(__local float* lanes, int l, float v)
{
    ALL(a < b ? b : a)
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void softmax_gpu(__global const float* restrict x, __global float* restrict y, int R, int K,
                 float beta)
{
    ROW
    float m = -INFINITY, s = 0.0f;
    for (int i = l; i < K; i += 64) m = m < x[i] ? x[i] : m;
    m = max_of(lanes, l, m);
    for (int i = l; i < K; i += 64) s += exp((x[i] - m) * beta);
    const float scale = 1.0f / sum_of(lanes, l, s);
    for (int i = l; i < K; i += 64) y[i] = exp((x[i] - m) * beta) * scale;
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void log_softmax_gpu(__global const float* restrict x, __global float* restrict y, int R, int K)
{
    ROW
    float m = -INFINITY, s = 0.0f;
    for (int i = l; i < K; i += 64) m = m < x[i] ? x[i] : m;
    m = max_of(lanes, l, m);
    for (int i = l; i < K; i += 64) s += exp(x[i] - m);
    const float shift = m + log(sum_of(lanes, l, s));
    for (int i = l; i < K; i += 64) y[i] = x[i] - shift;
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void l2_norm_gpu(__global const float* restrict x, __global float* restrict y, int R, int K)
{
    ROW
    float s = 0.0f;
    for (int i = l; i < K; i += 64) s += x[i] * x[i];
    s = sum_of(lanes, l, s);
    const float scale = 1.0f / sqrt(s < 1e-6f ? 1e-6f : s);
    for (int i = l; i < K; i += 64) y[i] = x[i] * scale;
}
