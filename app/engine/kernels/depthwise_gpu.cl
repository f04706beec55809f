// depthwise_gpu: y[n,i,j,c] = epilogue(bias[c] + sum over h,w of x[n,i*SH-PT+h*DH,j*SW-PL+w*DW,c] * k[h][w][c])
// x [N,H,W,C], y [N,OH,OW,C], k [KH,KW,C]; XT, YT, row-major. Neighbouring work-items own
// neighbouring channels, then neighbouring runs, so that a wavefront reads whole cache lines.
// Work-item (vector + VECTORS * run, n*OH+i): VW channels of RM pixels of one output row.
// Defines: VW RM | KH KW SW DW (they shape the registers: a run reads every input pixel once); APART
// where they cannot hold a row of the window, whose pixels are read tap by tap then
#define SPAN ((RM - 1) * SW + (KW - 1) * DW + 1)

__kernel WAVES(4) __attribute__((reqd_work_group_size(64, 1, 1)))
void depthwise_gpu(__global const XT* restrict x, __global const float* restrict k,
                   __global const float* restrict bias, __global YT* restrict y,
                   int H, int W, int C, int OH, int OW, int SH, int PT, int PL, int DH,
                   int VECTORS, int RUNS EPI_PARAMS)
{
    const int item = get_global_id(0);
    if (item >= VECTORS * RUNS) return;
    const int c = min(item % VECTORS * VW, C - VW);
    const int j = min(item / VECTORS * RM, OW - RM);
    const int row = get_global_id(1);
    const int n = row / OH, top = row % OH * SH - PT;
    const int left = j * SW - PL;
    VT acc[RM];
    UNROLL for (int r = 0; r < RM; r++) acc[r] = VLOAD(bias + c);
    for (int h = 0; h < KH; h++) {
        const int ih = top + h * DH;
        if (ih < 0 || ih >= H) continue;
        const int base = ((n * H + ih) * W + left) * C + c;
#ifdef APART
        for (int s = 0; s < KW; s++) {
            const VT tap = VLOAD(k + (h * KW + s) * C + c);
            UNROLL for (int r = 0; r < RM; r++) {
                const int at = r * SW + s * DW;
                if ((uint)(left + at) < (uint)W) acc[r] += XLOAD(x + base + at * C) * tap;
                else acc[r] += (VT)(0.0f) * tap;
            }
        }
#else
        VT in[SPAN];
        UNROLL for (int s = 0; s < SPAN; s++)
            in[s] = (uint)(left + s) < (uint)W ? XLOAD(x + base + s * C) : (VT)(0.0f);
        UNROLL for (int s = 0; s < KW; s++) {
            const VT tap = VLOAD(k + (h * KW + s) * C + c);
            UNROLL for (int r = 0; r < RM; r++) acc[r] += in[r * SW + s * DW] * tap;
        }
#endif
    }
    UNROLL for (int r = 0; r < RM; r++) {
        const int idx = (row * OW + j + r) * C + c;
        VT v = acc[r];
        EPILOGUE
        YSTORE(v, y + idx);
    }
}
