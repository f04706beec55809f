// depthwise: y[n,i,j,c] = epilogue(bias[c] + sum over h,w of x[n,i*SH-PT+h*DH,j*SW-PL+w*DW,c] * k[h][w][c])
// x [N,H,W,C], y [N,OH,OW,C], k [KH,KW,C]; float32, row-major.
// Work-item (b, n*OH+i), CPU-shaped: VW channels from min(b*VW, C-VW) of one output row, in runs
// of RM pixels inside the row (from LEFT on, INNER of them) and single pixels at its borders.
// Defines: VW RM | KH KW SW DW (they shape the registers: a run reads every input pixel once)
#define SPAN ((RM - 1) * SW + (KW - 1) * DW + 1)

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void depthwise(__global const float* restrict x, __global const float* restrict k,
               __global const float* restrict bias, __global float* restrict y,
               int H, int W, int C, int OH, int OW, int SH, int PT, int PL, int DH,
               int LEFT, int INNER EPI_PARAMS)
{
    const int c = min((int)get_global_id(0) * VW, C - VW);
    const int row = get_global_id(1);
    const int n = row / OH, i = row % OH;
    const int top = i * SH - PT;
    const VT b = VLOAD(bias + c);
    x += n * H * W * C + c;
    k += c;

    for (int done = 0; done < INNER; done += RM) {
        const int j = LEFT + min(done, INNER - RM);
        VT acc[RM];
        UNROLL for (int r = 0; r < RM; r++) acc[r] = b;
        for (int h = 0; h < KH; h++) {
            const int ih = top + h * DH;
            if (ih < 0 || ih >= H) continue;
            __global const float* xp = x + (ih * W + j * SW - PL) * C;
            VT in[SPAN];
            UNROLL for (int s = 0; s < SPAN; s++) in[s] = VLOAD(xp + s * C);
            UNROLL for (int s = 0; s < KW; s++) {
                const VT tap = VLOAD(k + (h * KW + s) * C);
                UNROLL for (int r = 0; r < RM; r++) acc[r] += in[r * SW + s * DW] * tap;
            }
        }
        UNROLL for (int r = 0; r < RM; r++) {
            const int idx = (row * OW + j + r) * C + c;
            VT v = acc[r];
            EPILOGUE
            VSTORE(v, y + idx);
        }
    }
    for (int e = 0; e < OW - INNER; e++) {
        const int j = e < LEFT ? e : e + INNER;
        VT v = b;
        for (int h = 0; h < KH; h++) {
            const int ih = top + h * DH;
            if (ih < 0 || ih >= H) continue;
            for (int s = 0; s < KW; s++) {
                const int iw = j * SW - PL + s * DW;
                if (iw >= 0 && iw < W)
                    v += VLOAD(x + (ih * W + iw) * C) * VLOAD(k + (h * KW + s) * C);
            }
        }
        const int idx = (row * OW + j) * C + c;
        EPILOGUE
        VSTORE(v, y + idx);
    }
}
