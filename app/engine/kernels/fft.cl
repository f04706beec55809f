// The spectrum of real rows, and of complex columns; sizes are powers of two, N and H.
// fft_rows:    y[r,k] = sum over n of x[r,n] * t[k*n],  t[m] = exp(-2 pi i m/N),  k = 0..N/2
// fft_columns: y[b,j,k] = sum over i of x[b,i,k] * exp(-2 pi i i*j/H)
// A row is transformed as N/2 complex numbers, even ones real and odd ones imaginary, and taken
// apart at the end. In place in LDS, radix 2, the bits of the places reversed at first.
// Work-group g of G work-items owns VW rows (columns of one b), the last group moved back to fit.
// Defines: VW
typedef struct { VT re, im; } PAIR;
#define REVERSED(n, bits) ((int)(reversed(n) >> (32 - (bits))))

inline uint reversed(uint n)
{
    n = (n >> 1 & 0x55555555u) | (n & 0x55555555u) << 1;
    n = (n >> 2 & 0x33333333u) | (n & 0x33333333u) << 2;
    n = (n >> 4 & 0x0f0f0f0fu) | (n & 0x0f0f0f0fu) << 4;
    n = (n >> 8 & 0x00ff00ffu) | (n & 0x00ff00ffu) << 8;
    return n >> 16 | n << 16;
}

// z [2^bits] in place; t holds the powers of a root of order `step` * 2^bits.
inline void transform(__local PAIR* z, __global const float2* restrict t, int bits, int step)
{
    const int l = get_local_id(0), G = get_local_size(0), count = 1 << bits;
    for (int span = 1; span < count; span *= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int j = l; j < count / 2; j += G) {
            const int k = j & (span - 1), at = 2 * j - k;
            const float2 w = t[k * (count / (2 * span)) * step];
            const PAIR p = z[at], q = z[at + span];
            const VT re = q.re * w.x - q.im * w.y, im = q.re * w.y + q.im * w.x;
            z[at].re = p.re + re;
            z[at].im = p.im + im;
            z[at + span].re = p.re - re;
            z[at + span].im = p.im - im;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

// x [B,H,W] read as B rows of `lines` each: beyond H and W it is zero; y [B,lines,N/2+1], R rows.
__kernel void fft_rows(__global const float* restrict x, __global float2* restrict y,
                   __global const float2* restrict t, __local float* memory, int R, int lines,
                   int H, int W, int N, int bits)
{
    __local PAIR* z = (__local PAIR*)memory;
    const int l = get_local_id(0), G = get_local_size(0), M = N / 2;
    const int first = min((int)get_group_id(0) * VW, R - VW);
    const int bins = M + 1;
    for (int n = l; n < M; n += G) {
        float re[VW], im[VW];
        for (int v = 0; v < VW; v++) {
            const int line = (first + v) % lines;
            __global const float* row = x + (size_t)((first + v) / lines * H + line) * W;
            re[v] = line < H && 2 * n < W ? row[2 * n] : 0.0f;
            im[v] = line < H && 2 * n + 1 < W ? row[2 * n + 1] : 0.0f;
        }
        const int at = bits ? REVERSED(n, bits) : 0;
        z[at].re = OF_ARRAY(re);
        z[at].im = OF_ARRAY(im);
    }
    transform(z, t, bits, 2);
    for (int k = l; k < bins; k += G) {
        const PAIR p = z[k % M], q = z[(M - k) % M];
        const float2 w = t[k];
        const VT er = 0.5f * (p.re + q.re), ei = 0.5f * (p.im - q.im);
        const VT dr = 0.5f * (p.im + q.im), di = 0.5f * (q.re - p.re);
        float re[VW], im[VW];
        TO_ARRAY(er + (dr * w.x - di * w.y), re);
        TO_ARRAY(ei + (dr * w.y + di * w.x), im);
        for (int v = 0; v < VW; v++) y[(size_t)(first + v) * bins + k] = (float2)(re[v], im[v]);
    }
}

// x, y [B,H,K].
__kernel void fft_columns(__global const float2* restrict x, __global float2* restrict y,
                      __global const float2* restrict t, __local float* memory, int H, int K,
                      int bits)
{
    __local PAIR* z = (__local PAIR*)memory;
    const int l = get_local_id(0), G = get_local_size(0);
    const int first = min((int)get_group_id(0) * VW, K - VW);
    const size_t base = (size_t)get_group_id(1) * H * K + first;
    for (int i = l; i < H; i += G) {
        float re[VW], im[VW];
        for (int v = 0; v < VW; v++) {
            const float2 p = x[base + i * K + v];
            re[v] = p.x;
            im[v] = p.y;
        }
        const int at = REVERSED(i, bits);
        z[at].re = OF_ARRAY(re);
        z[at].im = OF_ARRAY(im);
    }
    transform(z, t, bits, 1);
    for (int i = l; i < H; i += G) {
        float re[VW], im[VW];
        TO_ARRAY(z[i].re, re);
        TO_ARRAY(z[i].im, im);
        for (int v = 0; v < VW; v++) y[base + i * K + v] = (float2)(re[v], im[v]);
    }
}
