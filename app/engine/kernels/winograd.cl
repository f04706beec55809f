// winograd: a 3x3 convolution of stride 1 by tiles of TILE x TILE outputs, A = TILE + 2
// winograd_in:  v[t * LDT + k * LDK + c] = (BT d B)[k], d the A x A pixels of x under tile t, zeros outside
// winograd_out: y = epilogue(bias[c] + AT m A), m[k] as v, cut off at the borders; a tile
//               with a result that is not finite is computed from x and w [3][3][XC][C] itself,
//               since one NaN or infinity under a tile would reach all of its results
// x [N,H,W,C], y [N,H,W,C] (with their own extents), tiles t = (n * TY + row) * TX + column;
// XT, YT; pixels of y are LDY apart, this one's C channels begin at YC; v and u float32. Define WHOLE: 1 where x and w are whole numbers. Between the two stand A*A products of [tiles, C] by [C, O].
// Work-item: VW channels of one tile (FLAT: channels fastest), or of one row of tiles.
// Source: Lavin & Gray 2015; points 0, 1, -1 and infinity, of tiles of 4: 0, NEAR, -NEAR, FAR, -FAR
// and infinity.
#define A (TILE + 2)
#if TILE == 2
#define FORWARD(p, s)                                                              \
    {                                                                              \
        const VT p0 = (p)[0], p1 = (p)[s], p2 = (p)[2 * s], p3 = (p)[3 * s];       \
        (p)[0] = p2 - p0; (p)[s] = p2 + p1;                                        \
        (p)[2 * s] = p2 - p1; (p)[3 * s] = p3 - p1;                                \
    }
#define BACK(p, s)                                                                 \
    {                                                                              \
        const VT p0 = (p)[0], p1 = (p)[s], p2 = (p)[2 * s], p3 = (p)[3 * s];       \
        (p)[0] = p0 + p1 + p2; (p)[s] = p1 - p2 + p3;                              \
    }
#else
#define FORWARD(p, s)                                                              \
    {                                                                              \
        const VT p0 = (p)[0], p1 = (p)[s], p2 = (p)[2 * s], p3 = (p)[3 * s];       \
        const VT p4 = (p)[4 * s], p5 = (p)[5 * s];                                 \
        const VT even = p4 - FAR * FAR * p2, odd = NEAR * (p3 - FAR * FAR * p1);   \
        const VT near = p4 - NEAR * NEAR * p2, far = FAR * (p3 - NEAR * NEAR * p1); \
        const float both = NEAR * NEAR * FAR * FAR, sum = NEAR * NEAR + FAR * FAR; \
        (p)[0] = both * p0 - sum * p2 + p4; (p)[s] = even + odd;                   \
        (p)[2 * s] = even - odd; (p)[3 * s] = near + far;                          \
        (p)[4 * s] = near - far; (p)[5 * s] = both * p1 - sum * p3 + p5;           \
    }
#define BACK(p, s)                                                                 \
    {                                                                              \
        const VT p0 = (p)[0], p5 = (p)[5 * s];                                     \
        const VT even = (p)[s] + (p)[2 * s], odd = (p)[s] - (p)[2 * s];            \
        const VT near = (p)[3 * s] + (p)[4 * s], far = (p)[3 * s] - (p)[4 * s];    \
        (p)[0] = p0 + even + near; (p)[s] = NEAR * odd + FAR * far;                \
        (p)[2 * s] = NEAR * NEAR * even + FAR * FAR * near;                        \
        (p)[3 * s] = NEAR * NEAR * NEAR * odd + FAR * FAR * FAR * far + p5;        \
    }
#endif

#ifdef FLAT
#define EACH_TILE                                                                  \
    if ((int)get_global_id(0) >= VECTORS * TILES) return;                          \
    const int c = min((int)get_global_id(0) % VECTORS * VW, C - VW);               \
    const int t = get_global_id(0) / VECTORS;                                      \
    for (bool once = true; once; once = false)
#define SHAPED __attribute__((reqd_work_group_size(64, 1, 1)))
#else
#define EACH_TILE                                                                  \
    const int c = min((int)get_global_id(0) * VW, C - VW);                         \
    for (int t = get_global_id(1) * TX; t < ((int)get_global_id(1) + 1) * TX; t++)
#define SHAPED __attribute__((reqd_work_group_size(1, 1, 1)))
#endif

__kernel SHAPED
void winograd_in(__global const XT* restrict x, __global float* restrict v,
                 int H, int W, int C, int PT, int PL, int TY, int TX, int TILES, int VECTORS,
                 int LDT, int LDK)
{
    EACH_TILE {
        const int top = t / TX % TY * TILE - PT, left = t % TX * TILE - PL;
        __global const XT* image = x + t / (TX * TY) * H * W * C + c;
        VT d[A * A];
        UNROLL for (int r = 0; r < A; r++)
            UNROLL for (int s = 0; s < A; s++) {
                const int h = top + r, w = left + s;
                const bool inside = (uint)h < (uint)H && (uint)w < (uint)W;
                d[r * A + s] = inside ? XLOAD(image + (h * W + w) * C) : (VT)(0.0f);
            }
        UNROLL for (int s = 0; s < A; s++) FORWARD(d + s, A)
        UNROLL for (int r = 0; r < A; r++) FORWARD(d + r * A, 1)
        __global float* to = v + t * LDT + c;
        UNROLL for (int k = 0; k < A * A; k++) VSTORE(d[k], to + k * LDK);
    }
}

// Sums of whole numbers are whole (WHOLE): what the transforms are off is rounded away, from 2^22
// on to even numbers.
#if WHOLE
#define SUM(v) NEAREST(v)
#else
#define SUM(v) (v)
#endif
#if VW == 1
#define ANY_NAN(v) isnan(v)
#else
#define ANY_NAN(v) any(isnan(v))
#endif

inline VT directly(__global const XT* x, __global const float* w, int row, int column, int XH,
                   int XW, int XC, int C)
{
    VT sum = (VT)(0.0f);
    ROLLED for (int tap = 0; tap < 9; tap++) {
        const int h = row + tap / 3, v = column + tap % 3;
        if ((uint)h >= (uint)XH || (uint)v >= (uint)XW) continue;
        ROLLED for (int k = 0; k < XC; k++)
            sum += XONE(x + (h * XW + v) * XC + k) * VLOAD(w + (tap * XC + k) * C);
    }
    return sum;
}

__kernel SHAPED
void winograd_out(__global const float* restrict u, __global const float* restrict bias,
                  __global YT* restrict y, __global const XT* restrict x,
                  __global const float* restrict w, int XH, int XW, int XC, int PT, int PL,
                  int H, int W, int C, int LDY, int YC, int TY, int TX, int TILES, int VECTORS,
                  int LDT, int LDK EPI_PARAMS)
{
    EACH_TILE {
        const int top = t / TX % TY * TILE, left = t % TX * TILE;
        const int image = t / (TX * TY);
        __global const float* from = u + t * LDT + c;
        VT m[A * A];
        UNROLL for (int k = 0; k < A * A; k++) m[k] = VLOAD(from + k * LDK);
        UNROLL for (int s = 0; s < A; s++) BACK(m + s, A)
        UNROLL for (int r = 0; r < TILE; r++) BACK(m + r * A, 1)
        VT odd = (VT)(0.0f);
        UNROLL for (int k = 0; k < A * TILE; k++)
            if (k % A < TILE) odd += m[k] * 0.0f;
        const VT b = VLOAD(bias + c);
        if (ANY_NAN(odd)) {
            ROLLED for (int p = 0; p < TILE * TILE; p++) {
                const int row = top + p / TILE, column = left + p % TILE;
                if (row >= H || column >= W) continue;
                const int pixel = (image * H + row) * W + column, idx = pixel * C + c;
                VT v = b + directly(x + image * XH * XW * XC, w + c, row - PT, column - PL, XH, XW,
                                    XC, C);
                EPILOGUE
                YSTORE(v, y + pixel * LDY + YC + c);
            }
            continue;
        }
        UNROLL for (int r = 0; r < TILE; r++)
            UNROLL for (int s = 0; s < TILE; s++) {
                if (top + r >= H || left + s >= W) continue;
                const int pixel = (image * H + top + r) * W + left + s, idx = pixel * C + c;
                VT v = SUM(m[r * A + s]) + b;
                EPILOGUE
                YSTORE(v, y + pixel * LDY + YC + c);
            }
    }
}
