// depthwise: y[n,i,j,c] = epilogue(bias[c] + sum over h,w of
//                                  x[n,i*SH-PT+h*DH,j*SW-PL+w*DW,c] * k[h][w][c])
// x [N,H,W,C], y [N,OH,OW,C], k [KH,KW,C]; float32, row-major.
// Work-item (b, n*OH+i), CPU-shaped: VW channels from min(b*VW, C-VW) of one output row, in runs
// of RM pixels; the last run moves back to fit.
// Defines: VW RM | KH KW SW DW (they shape the registers: a run reads every input pixel once)
#define SPAN ((RM - 1) * SW + (KW - 1) * DW + 1)

#define TAPS(LOAD)                                                                   \
    for (int h = from; h < to; h++) {                                                \
        __global const float* xp = x + (top + h * DH) * W * C + left * C;            \
        VT in[SPAN];                                                                 \
        UNROLL for (int s = 0; s < SPAN; s++) in[s] = LOAD;                          \
        UNROLL for (int s = 0; s < KW; s++) {                                        \
            const VT tap = VLOAD(k + (h * KW + s) * C);                              \
            UNROLL for (int r = 0; r < RM; r++) acc[r] += in[r * SW + s * DW] * tap; \
        }                                                                            \
    }

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void depthwise(__global const float* restrict x, __global const float* restrict k,
               __global const float* restrict bias, __global float* restrict y,
               int H, int W, int C, int OH, int OW, int SH, int PT, int PL, int DH EPI_PARAMS)
{
    const int c = min((int)get_global_id(0) * VW, C - VW);
    const int row = get_global_id(1);
    const int n = row / OH, i = row % OH;
    const int top = i * SH - PT;
    const int from = top < 0 ? (-top + DH - 1) / DH : 0;
    const int to = min(KH, (H - top + DH - 1) / DH);
    const VT b = VLOAD(bias + c);
    x += n * H * W * C + c;
    k += c;
    for (int done = 0; done < OW; done += RM) {
        const int j = min(done, OW - RM);
        const int left = j * SW - PL;
        VT acc[RM];
        UNROLL for (int r = 0; r < RM; r++) acc[r] = b;
        if (left >= 0 && left + SPAN <= W) {
            TAPS(VLOAD(xp + s * C))
        } else {
            TAPS(left + s >= 0 && left + s < W ? VLOAD(xp + s * C) : (VT)(0.0f))
        }
        UNROLL for (int r = 0; r < RM; r++) {
            const int idx = (row * OW + j + r) * C + c;
            VT v = acc[r];
            EPILOGUE
            KEEP(v, y + idx);
        }
    }
}
