// Convolutions of 8-bit integers by the dot products of four that some CPUs have.
// dots: y[n,i,j,g*GN+o] = epilogue(bias + sums[o] + sum over h,s,k of x[...] * w[panel][h][s][k][o]).
// x: bytes; window (n,i,j) begins at X0 + n*IMAGE + i*SH + j*SW + g*KC and has KH rows, DH apart, of SEGS
// segments, DW apart, of 4*SEG bytes each; the last of them may be beyond the window: their weights
// are zero. w: int8, [group][panel][KH*SEGS*SEG][VW][4]; sums take ZERO back. y as in conv.cl.
// With ROWS, x is rounded row by row (rows.cl): what comes before the epilogue is bias[o] + the sum of
// x[...] * w[...] * step * scales[o], where row p / PER has a step and a zero, and p counts y's pixels.
// With SHIFTED, w is what int8 holds of weights that are larger by SHIFT, which is multiplied with the
// sum of a window: ones [SEG][4] are ones and, at the end of a segment, zeros.
// Work-item (t, q, n*OH+i), CPU-shaped, as in conv.cl without borders.
// Defines: VW (8 or 16) RM NP ROWS SHIFTED
// Of memory that holds anything, anywhere.
typedef __attribute__((aligned(1))) int ANYWHERE;
typedef __attribute__((aligned(4))) VI INTS;

#if ROWS
#define MORE_PARAMS \
    , __global const float2* restrict ranges, __global const float* restrict scales, int PER
#define START 0
#define FINISH                                                                     \
    const float2 range = ranges[((n * OH + i) * OW + j + r) / PER];                \
    const VI whole = acc[r][p] - (int)range.y * *(__global const INTS*)(sums + c); \
    VT v = CAT(convert_float, VW)(whole) * (range.x * VLOAD(scales + c)) + VLOAD(bias + c);
#elif SHIFTED
#define MORE_PARAMS , __global const int* restrict ones, int SHIFT
#define START *(__global const INTS*)(sums + c) + CAT(convert_int, VW)(VLOAD(bias + c))
#define FINISH VT v = CAT(convert_float, VW)(acc[r][p] + SHIFT * window[r]);
#else
#define MORE_PARAMS
#define START *(__global const INTS*)(sums + c) + CAT(convert_int, VW)(VLOAD(bias + c))
#define FINISH VT v = CAT(convert_float, VW)(acc[r][p]);
#endif

__kernel TARGET __attribute__((reqd_work_group_size(1, 1, 1)))
void dots(__global const uchar* restrict x, __global const VI* restrict w,
         __global const int* restrict sums, __global const float* restrict bias,
         __global float* restrict y, int X0, int IMAGE, int KC, int SH, int SW, int DH, int DW,
         int OH, int OW, int GN, int GROUPS, int KH, int SEGS, int SEG, int TILES, int CHUNK,
         int SETS, int Y0, int YN, int YI, int YJ, int LDY, int YG, int YC MORE_PARAMS EPI_PARAMS)
{
    const int begin = get_global_id(0) * CHUNK;
    const int end = min(begin + CHUNK, TILES);
    const int group = get_global_id(1) / SETS;
    const int panels = (GN + VW - 1) / VW;
    const int first = min((int)(get_global_id(1) % SETS) * NP, panels - NP);
    const int row = get_global_id(2);
    const int n = row / OH, i = row % OH;
    const int panel = KH * SEGS * SEG;
    __global const VI* weights = w + (group * panels + first) * panel;
    x += X0 + n * IMAGE + i * SH + group * KC;

    for (int t = begin; t < end; t++) {
        const int j = min(t * RM, OW - RM);
        VI acc[RM][NP];
        UNROLL for (int p = 0; p < NP; p++) {
            const int c = group * GN + min((first + p) * VW, GN - VW);
            const VI start = START;
            UNROLL for (int r = 0; r < RM; r++) acc[r][p] = start;
        }
#if SHIFTED
        VI window[RM];
        UNROLL for (int r = 0; r < RM; r++) window[r] = 0;
#endif
        __global const VI* wp = weights;
        for (int h = 0; h < KH; h++)
        for (int s = 0; s < SEGS; s++) {
            __global const uchar* xp = x + j * SW + h * DH + s * DW;
            for (int k = 0; k < SEG; k++, xp += 4, wp++) {
                VI b[NP];
                UNROLL for (int p = 0; p < NP; p++) b[p] = wp[p * panel];
                UNROLL for (int r = 0; r < RM; r++) {
                    const VI a = (VI)(*(__global const ANYWHERE*)(xp + r * SW));
                    UNROLL for (int p = 0; p < NP; p++) acc[r][p] = FOURS(acc[r][p], a, b[p]);
#if SHIFTED
                    window[r] = FOURS(window[r], a, (VI)(ones[k]));
#endif
                }
            }
        }
        UNROLL for (int r = 0; r < RM; r++)
        UNROLL for (int p = 0; p < NP; p++) {
            const int o = min((first + p) * VW, GN - VW);
            const int c = group * GN + o;
            const int pixel = Y0 + n * YN + i * YI + (j + r) * YJ;
            const int idx = pixel * GROUPS * GN + c;
            FINISH
            EPILOGUE
            KEEP(v, y + pixel * LDY + YC + group * YG + o);
        }
    }
}
