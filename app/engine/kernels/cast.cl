// cast: y[i] = CONVERT(x[i] + offset), from one element type to another
// Work-item i: elements i*PER to (i+1)*PER-1. Defines: TX TY (types) TC (the type to add in)
// CONVERT(v) PER
__kernel void cast(__global const TX* restrict x, __global TY* restrict y, int n, int offset)
{
    const int from = get_global_id(0) * PER, to = min(from + PER, n);
    for (int i = from; i < to; i++) y[i] = CONVERT((TC)x[i] + (TC)offset);
}

// rows: y[r,k] = x[r,k] rounded to 8 bits over the range of row r
// x, y [R,K]; float32. Work-group r of G work-items owns one row; low, high are LDS [G].
// SYMMETRIC: steps of max|x|/127 around 0; else 255 steps over [min(x,0), max(x,0)].
__kernel void rows(__global const float* restrict x, __global float* restrict y, int R, int K,
                   __local float* low, __local float* high)
{
    const int r = get_group_id(0), g = get_local_id(0), G = get_local_size(0);
    x += (size_t)r * K;
    y += (size_t)r * K;
    float lo = 0.0f, hi = 0.0f;
    for (int k = g; k < K; k += G) {
        const float v = x[k];
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    low[g] = lo;
    high[g] = hi;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < G; i++) {
        lo = low[i] < lo ? low[i] : lo;
        hi = high[i] > hi ? high[i] : hi;
    }
#if SYMMETRIC
    const float range = -lo > hi ? -lo : hi;
    const float step = range / 127.0f, least = -127.0f, zero = 0.0f;
    const float inverse = range > 0.0f ? 127.0f / range : 0.0f;
#else
    const float step = (hi - lo) / 255.0f, least = -128.0f;
    const float inverse = hi > lo ? 1.0f / step : 0.0f;
    const float below = -128.0f - lo / step, above = 127.0f - hi / step;
    const float which = 128.0f + fabs(lo / step) < 127.0f + fabs(hi / step) ? below : above;
    const float zero = hi > lo ? clamp(round(which), -128.0f, 127.0f) : 0.0f;
#endif
    for (int k = g; k < K; k += G)
        y[k] = (clamp(round(zero + x[k] * inverse), least, 127.0f) - zero) * step;
}
