// unfold: y[n,i,j,h,w,c] = x[n, i*SH-PT+h*DH, j*SW-PL+w*DW, c], zero outside of x
// x [N,H,W,C], y [N,OH,OW,KH,KW,C]; float32, row-major. Work-item p, CPU-shaped: pixel p of N*OH*OW.
static inline void zero(int count, __global float* y)
{
    for (int k = 0; k < count; k++) y[k] = 0.0f;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void unfold(__global const float* restrict x, __global float* restrict y, int H, int W, int C,
            int OH, int OW, int KH, int KW, int SH, int SW, int PT, int PL, int DH, int DW)
{
    const int p = get_global_id(0);
    const int j = p % OW, i = p / OW % OH, n = p / (OW * OH);
    // Taps that lie side by side are one run.
    const int taps = DW == 1 ? KW : 1;
    y += p * KH * KW * C;
    for (int h = 0, ih = i * SH - PT; h < KH; h++, ih += DH)
    for (int w = 0, iw = j * SW - PL; w < KW; w += taps, iw += taps * DW) {
        const int from = ih < 0 || ih >= H ? taps : clamp(-iw, 0, taps);
        const int to = clamp(W - iw, from, taps);
        zero(from * C, y);
        y += from * C;
        __global const float* source = x + ((n * H + ih) * W + iw + from) * C;
        const int count = (to - from) * C;
        for (int k = 0; k < count; k++) y[k] = source[k];
        y += count;
        zero((taps - to) * C, y);
        y += (taps - to) * C;
    }
}
