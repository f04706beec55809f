// unfold: y[n,i,j,h,w,c] = x[n, i*SH-PT+h*DH, j*SW-PL+w*DW, c], zero outside of x
// x [N,H,W,C], y [N,OH,OW,KH,KW,C]; float32, row-major. Work-item p, CPU-shaped: pixel p of N*OH*OW.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void unfold(__global const float* restrict x, __global float* restrict y, int H, int W, int C,
            int OH, int OW, int KH, int KW, int SH, int SW, int PT, int PL, int DH, int DW)
{
    const int p = get_global_id(0);
    const int j = p % OW, i = p / OW % OH, n = p / (OW * OH);
    y += p * KH * KW * C;
    for (int h = 0, ih = i * SH - PT; h < KH; h++, ih += DH)
    for (int w = 0, iw = j * SW - PL; w < KW; w++, iw += DW, y += C) {
        const bool inside = ih >= 0 && ih < H && iw >= 0 && iw < W;
        __global const float* source = x + ((n * H + ih) * W + iw) * C;
        if (inside)
            for (int c = 0; c < C; c++) y[c] = source[c];
        else
            for (int c = 0; c < C; c++) y[c] = 0.0f;
    }
}
