// conv: y[n,i,j,g*GN+o] = epilogue(bias + sum over h,w,k of x[n, i*SH-PT+h*DH, j*SW-PL+w*DW, g*KC+k]
//                                               * w[panel][h][w][k][o])
// x [N,H,W,C]; float32, row-major. Output (n,i,j) is pixel Y0 + n*YN + i*YI + j*YJ of y, whose
// pixels are LDY floats apart, of which this one's begin at YC: a plain image, a phase of a larger one
// or a slice of channels. Pixels of x are C floats apart, groups XG in x and YG in y. w is packed in panels of VW outputs; the last
// panel of a group starts at GN-VW, so panels may overlap and no tail exists.
// Work-item (t, q, n*OH+i), CPU-shaped: CHUNK tiles from t*CHUNK on. Tiles are TILES runs of RM pixels of row i whose window
// lies inside the row (the first at column LEFT, INNER of them, the last run moved back to fit),
// then over the border pixels, one each; q is a set of NP panels.
// Defines: VW RM NP | SEGS segments of a window row that lie together in memory: 1 (whole row,
// where DW = 1 and KC = C) or KW (pixel by pixel)
// Outputs that are few (VW = 1) are summed ALONG lanes of a window row at a time, whose sums meet
// at the end.
#if VW == 1
#define WIDE CAT(float, ALONG)
#if HALF_WEIGHTS
#define WIDE_WEIGHTS(p) CAT(vload_half, ALONG)(0, p)
#else
#define WIDE_WEIGHTS(p) CAT(vload, ALONG)(0, p)
#endif
static inline float total(WIDE v) {
#if ALONG == 16
    const float8 most = v.lo + v.hi;
    const float4 few = most.lo + most.hi;
#elif ALONG == 8
    const float4 few = v.lo + v.hi;
#else
    const float4 few = v;
#endif
    const float2 two = few.lo + few.hi;
    return two.x + two.y;
}
#define PARTS(R)                                                     \
    WIDE part[R][NP];                                                \
    UNROLL for (int r = 0; r < R; r++)                               \
        UNROLL for (int p = 0; p < NP; p++) part[r][p] = 0.0f;
#define SUM(R, P) (acc[R][P] + total(part[R][P]))
#define DOT(R, XP, LDX, FROM, TO)                                    \
    {                                                                \
        int at = FROM;                                               \
        for (; at + ALONG <= TO; at += ALONG) {                      \
            WIDE b[NP];                                              \
            UNROLL for (int p = 0; p < NP; p++)                      \
                b[p] = WIDE_WEIGHTS(wp + p * panel + at);            \
            UNROLL for (int r = 0; r < R; r++) {                     \
                const WIDE a = CAT(vload, ALONG)(0, (XP) + r * (LDX) + at); \
                UNROLL for (int p = 0; p < NP; p++)                  \
                    part[r][p] += a * b[p];                          \
            }                                                        \
        }                                                            \
        TAIL(R, XP, LDX, at, TO)                                     \
    }
#else
#define PARTS(R)
#define SUM(R, P) acc[R][P]
#define DOT TAIL
#endif

#define TAIL(R, XP, LDX, FROM, TO)                                   \
    for (int k = FROM; k < TO; k++) {                                \
        VT b[NP];                                                    \
        UNROLL for (int p = 0; p < NP; p++)                          \
            b[p] = WLOAD(wp + p * panel + k * VW);                   \
        UNROLL for (int r = 0; r < R; r++) {                         \
            const float a = (XP)[r * (LDX) + k];                     \
            UNROLL for (int p = 0; p < NP; p++)                      \
                acc[r][p] += a * b[p];                               \
        }                                                            \
    }

#define FINISH(R, COLUMN)                                            \
    UNROLL for (int r = 0; r < R; r++)                               \
        UNROLL for (int p = 0; p < NP; p++) {                        \
            const int o = min((first + p) * VW, GN - VW);            \
            const int c = group * GN + o;                            \
            const int pixel = Y0 + n * YN + i * YI + ((COLUMN) + r) * YJ; \
            const int idx = pixel * GROUPS * GN + c;                 \
            VT v = SUM(r, p);                                        \
            EPILOGUE                                                 \
            KEEP(v, y + pixel * LDY + YC + group * YG + o);          \
        }

#define START(R)                                                     \
    PARTS(R)                                                         \
    UNROLL for (int r = 0; r < R; r++)                               \
        UNROLL for (int p = 0; p < NP; p++)                          \
            acc[r][p] = VLOAD(bias + group * GN + min((first + p) * VW, GN - VW));

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void conv(__global const float* restrict x, __global const WT* restrict w,
          __global const float* restrict bias, __global float* restrict y,
          int H, int W, int C, int KC, int OH, int OW, int GN, int GROUPS,
          int KH, int KW, int SH, int SW, int PT, int PL, int DH, int DW,
          int LEFT, int INNER, int TILES, int CHUNK, int SETS,
          int Y0, int YN, int YI, int YJ, int LDY, int XG, int YG, int YC EPI_PARAMS)
{
    const int begin = get_global_id(0) * CHUNK;
    const int end = min(begin + CHUNK, TILES + OW - INNER);
    const int group = get_global_id(1) / SETS;
    const int panels = (GN + VW - 1) / VW;
    const int first = min((int)(get_global_id(1) % SETS) * NP, panels - NP);
    const int row = get_global_id(2);
    const int n = row / OH, i = row % OH;
    const int segment = SEGS == 1 ? KW * KC : KC;
    const int panel = KH * KW * KC * VW;
    __global const WT* weights = w + (group * panels + first) * panel;
    const int top = i * SH - PT;

    for (int t = begin; t < end; t++)
    if (t < TILES) {
        const int j = LEFT + min(t * RM, INNER - RM);
        VT acc[RM][NP];
        START(RM)
        for (int h = 0; h < KH; h++) {
            const int ih = top + h * DH;
            if (ih < 0 || ih >= H) continue;
            __global const float* xp = x + ((n * H + ih) * W + j * SW - PL) * C + group * XG;
            __global const WT* wp = weights + h * KW * KC * VW;
            for (int s = 0; s < SEGS; s++) {
                DOT(RM, xp, SW * C, 0, segment)
                xp += DW * C;
                wp += segment * VW;
            }
        }
        FINISH(RM, j)
    } else {
        int j = t - TILES;
        if (j >= LEFT) j += INNER;
        const int start = j * SW - PL;
        const int lo = max(0, (-start + DW - 1) / DW);
        const int hi = min(KW, (W - start + DW - 1) / DW);
        VT acc[1][NP];
        START(1)
        for (int h = 0; h < KH; h++) {
            const int ih = top + h * DH;
            if (ih < 0 || ih >= H) continue;
            __global const float* xp = x + ((n * H + ih) * W + start) * C + group * XG;
            __global const WT* wp = weights + h * KW * KC * VW;
            if (SEGS == 1) {
                DOT(1, xp, 0, lo * KC, hi * KC)
            } else {
                for (int s = lo; s < hi; s++) {
                    __global const float* xs = xp + s * DW * C;
                    __global const WT* ws = wp;
                    wp = ws + s * KC * VW;
                    DOT(1, xs, 0, 0, KC)
                    wp = ws;
                }
            }
        }
        FINISH(1, j)
    }
}
