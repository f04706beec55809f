// SYMMETRIC: steps of max|x|/127 around 0; else 255 steps over [min(x,0), max(x,0)].
// What a row of values from lo to hi is rounded by: step, inverse, zero, least.
#if SYMMETRIC
#define SCALE_OF_ROW                                                     \
    const float range = -lo > hi ? -lo : hi;                             \
    const float step = range / 127.0f, least = -127.0f, zero = 0.0f;     \
    const float inverse = range > 0.0f ? 127.0f / range : 0.0f;
#else
#define SCALE_OF_ROW                                                     \
    const float step = (hi - lo) / 255.0f, least = -128.0f;              \
    const float inverse = hi > lo ? 1.0f / step : 0.0f;                  \
    const float below = -128.0f - lo / step, above = 127.0f - hi / step; \
    const float which = 128.0f + fabs(lo / step) < 127.0f + fabs(hi / step) ? below : above; \
    const float zero = hi > lo ? clamp(round(which), -128.0f, 127.0f) : 0.0f;
#endif

// Let lo..hi hold l..h, too; NaN changes nothing.
#define WIDEN(lo, hi, l, h)        \
    lo = (l) < lo ? (l) : lo;      \
    hi = (h) > hi ? (h) : hi;

// The ends of 0 and x[from..to), by a work-group of a power of two; low, high are LDS, a float for
// each work-item.
inline float2 ends_of(__global const float* restrict x, int from, int to, __local float* low,
                      __local float* high)
{
    const int g = get_local_id(0), G = get_local_size(0);
    float lo = 0.0f, hi = 0.0f;
    for (int k = from + g; k < to; k += G) {
        const float v = x[k];
        WIDEN(lo, hi, v, v)
    }
    low[g] = lo;
    high[g] = hi;
    for (int half_of = G / 2; half_of > 0; half_of /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (g < half_of) {
            WIDEN(low[g], high[g], low[g + half_of], high[g + half_of])
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return (float2)(low[0], high[0]);
}

// rows: y[r,k] = x[r,k] rounded to 8 bits over the range of row r
// x, y [R,K]; float32. Work-group r of G work-items owns one row; low, high are LDS [G].
__kernel void rows(__global const float* restrict x, __global float* restrict y, int R, int K,
                   __local float* low, __local float* high)
{
    const int r = get_group_id(0);
    x += (size_t)r * K;
    y += (size_t)r * K;
    const float2 ends = ends_of(x, 0, K, low, high);
    const float lo = ends.x, hi = ends.y;
    SCALE_OF_ROW
    for (int k = get_local_id(0); k < K; k += get_local_size(0))
        y[k] = (clamp(round(zero + x[k] * inverse), least, 127.0f) - zero) * step;
}

// row_ends: ends[r,p] = (min(x,0), max(x,0)) of part p of row r, of P parts. Work-group (p, r).
__kernel void row_ends(__global const float* restrict x, __global float2* restrict ends,
                       int R, int K, int P, __local float* low, __local float* high)
{
    const int p = get_group_id(0), r = get_group_id(1), part = (K + P - 1) / P;
    const float2 own = ends_of(x + (size_t)r * K, p * part, min((p + 1) * part, K), low, high);
    if (get_local_id(0) == 0) ends[r * P + p] = own;
}

// rows_of_ends: rows, of which row_ends has found the ends. Work-item (i, r): every S-th value of
// row r from i on, where S is how many work-items a row has.
__kernel void rows_of_ends(__global const float* restrict x, __global const float2* restrict ends,
                           __global float* restrict y, int R, int K, int P)
{
    const int r = get_global_id(1);
    float lo = 0.0f, hi = 0.0f;
    for (int p = 0; p < P; p++) {
        const float2 part = ends[r * P + p];
        WIDEN(lo, hi, part.x, part.y)
    }
    SCALE_OF_ROW
    for (int k = get_global_id(0); k < K; k += get_global_size(0)) {
        const size_t at = (size_t)r * K + k;
        y[at] = (clamp(round(zero + x[at] * inverse), least, 127.0f) - zero) * step;
    }
}

// The ends of 0 and x[0..K), by one work-item. K is VW or more.
static inline float2 ends_alone(__global const float* restrict x, int K)
{
    VT low = 0.0f, high = 0.0f;
    for (int k = 0; k < K; k += VW) {
        const VT v = VLOAD(x + min(k, K - VW));
        WIDEN(low, high, v, v)
    }
    float lows[VW], highs[VW], lo = 0.0f, hi = 0.0f;
    TO_ARRAY(low, lows);
    TO_ARRAY(high, highs);
    for (int i = 0; i < VW; i++) {
        WIDEN(lo, hi, lows[i], highs[i])
    }
    return (float2)(lo, hi);
}

// Written so that NaN becomes the least, as clamp makes it.
#define ROUNDED(v)                    \
    v = v > least ? v : (VT)(least);  \
    v = v < 127.0f ? v : (VT)(127.0f); \
    v = AWAY(v);

// rows_cpu: rows. Work-item r owns row r. Defines: VW, at most K
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void rows_cpu(__global const float* restrict x, __global float* restrict y, int R, int K)
{
    const int r = get_global_id(0);
    x += (size_t)r * K;
    y += (size_t)r * K;
    const float2 ends = ends_alone(x, K);
    const float lo = ends.x, hi = ends.y;
    SCALE_OF_ROW
    for (int k = 0; k < K; k += VW) {
        const int at = min(k, K - VW);
        VT v = zero + VLOAD(x + at) * inverse;
        ROUNDED(v)
        VSTORE((v - zero) * step, y + at);
    }
}

// rows_bytes: y[r,i,j] = 128 + the 8 bits that x[r,i-PT,j-PL] is rounded to over the range of row r,
// those of zero outside of x; ranges[r] = (step, 128 + zero)
// x [R,H,LINE] float32; y [R,HP,WIDTH] and SLACK bytes more; PL in bytes. Work-item r owns row r.
// Defines: VW, at most LINE
#ifdef BYTES
#define SLACK 4
static inline void fill_bytes(uchar value, int count, __global uchar* p)
{
    for (int i = 0; i < count; i++) p[i] = value;
}
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void rows_bytes(__global const float* restrict x, __global uchar* restrict y,
                __global float2* restrict ranges, int R, int H, int LINE, int HP, int WIDTH,
                int PT, int PL)
{
    const int r = get_global_id(0);
    x += (size_t)r * H * LINE;
    y += (size_t)r * HP * WIDTH;
    const float2 ends = ends_alone(x, H * LINE);
    const float lo = ends.x, hi = ends.y;
    SCALE_OF_ROW
    const uchar none = (int)zero + 128;
    ranges[r] = (float2)(step, zero + 128.0f);
    fill_bytes(none, PT * WIDTH, y);
    y += PT * WIDTH;
    for (int h = 0; h < H; h++, x += LINE, y += WIDTH) {
        fill_bytes(none, PL, y);
        for (int k = 0; k < LINE; k += VW) {
            const int at = min(k, LINE - VW);
            VT v = zero + VLOAD(x + at) * inverse;
            ROUNDED(v)
            BYTES_STORE(v, y + PL + at, 128);
        }
        fill_bytes(none, WIDTH - PL - LINE, y + PL + LINE);
    }
    fill_bytes(none, (HP - PT - H) * WIDTH + (r == R - 1 ? SLACK : 0), y);
}
#endif
