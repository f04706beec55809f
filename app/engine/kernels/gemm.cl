// gemm: y[m,o] = epilogue(bias[o] + sum over k of A[m,k] * w[k,o]), shaped for wavefronts of 64
// A is never stored: row m is the window of output pixel (n,i,j), column k its value (h,w,channel).
// x [N,H,W,C] of XT, row-major; y of YT as in conv.cl: pixel Y0 + n*YN + i*YI + j*YJ, LDY floats apart,
// from YC on.
// w is packed as [group][block of BN outputs][K, padded with zeros][BN]; panels of VW outputs, the
// last of a group begins at GN-VW, so panels may overlap and no tail exists.
// Work-group (block of outputs, block of pixels, group): LM x LN lanes times KS slices of K, which
// are added at the end. A lane owns TM pixels, LM apart, by TN panels, LN apart; both sides are
// staged in LDS, TK values of k at a time, fetched while the ones before are multiplied.
// With WINDOW_H and WINDOW_W, A is a depthwise convolution of x by such windows, computed where it is
// fetched: A[m,k] = inner epilogue(before[k] + sum over h,v of x[n, i*SH-PT+h*DH, j*SW-PL+v*DW, k] *
// taps[h][v][k]), and VW is AV.
// Defines: VW TM TN LM LN TK KS | AV floats per fetch of x | POINT (1: windows of one pixel, in
// place) | gemm_batch: both sides are computed by the model, w is [K,N]
#define LANES (LM * LN)
#define BM (LM * TM)
#define PANELS (LN * TN)
#define BN (PANELS * VW)
// One float4 more a row keeps lanes that read different rows on different banks.
#define PITCH (TK + 4)
#define TILE (BM * PITCH + TK * BN)
#define SUMS (KS / 2 * LANES * TM * TN * VW)
#define LDS (KS * TILE > SUMS ? KS * TILE : SUMS)
#define PER_ROW (TK / AV)
#define A_LOADS ((BM * PER_ROW + LANES - 1) / LANES)
#define B_LOADS ((TK * PANELS + LANES - 1) / LANES)
#if AV == 4
#define AT float4
#if X_HALF
#define ALOAD(p) WHOLE_LOAD(4, p)
#else
#define ALOAD(p) vload4(0, p)
#endif
#else
#define AT float
#define ALOAD(p) XONE(p)
#endif

inline void stage(__local float* xs, __local float* ws, const AT* a, const VT* b, int t)
{
    UNROLL for (int l = 0; l < A_LOADS; l++) {
        const int e = t + l * LANES;
        if (BM * PER_ROW % LANES == 0 || e < BM * PER_ROW)
            *(__local AT*)(xs + e / PER_ROW * PITCH + e % PER_ROW * AV) = a[l];
    }
    UNROLL for (int l = 0; l < B_LOADS; l++) {
        const int e = t + l * LANES;
        if (TK * PANELS % LANES == 0 || e < TK * PANELS) *(__local VT*)(ws + e * VW) = b[l];
    }
}

#define STEP_K(I, A)                                                              \
    {                                                                             \
        VT panel[TN];                                                             \
        UNROLL for (int p = 0; p < TN; p++)                                       \
            panel[p] = *(__local const VT*)(ws + ((k + I) * PANELS + ln + p * LN) * VW); \
        UNROLL for (int r = 0; r < TM; r++)                                       \
            UNROLL for (int p = 0; p < TN; p++) acc[r][p] += A * panel[p];        \
    }

inline void multiply(VT acc[TM][TN], __local const float* xs, __local const float* ws, int lm,
                     int ln)
{
    ROLLED for (int k = 0; k < TK; k += 2) {
        float2 a[TM];
        UNROLL for (int r = 0; r < TM; r++)
            a[r] = *(__local const float2*)(xs + (lm + r * LM) * PITCH + k);
        STEP_K(0, a[r].s0)
        STEP_K(1, a[r].s1)
    }
}

inline void add_slices(VT acc[TM][TN], __local float* lds, int t, int slice)
{
    for (int half_ = KS / 2; half_ > 0; half_ /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (slice >= half_ && slice < 2 * half_)
            UNROLL for (int r = 0; r < TM; r++)
                UNROLL for (int p = 0; p < TN; p++)
                    *(__local VT*)(lds + ((((slice - half_) * TM + r) * TN + p) * LANES + t) * VW)
                        = acc[r][p];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (slice < half_)
            UNROLL for (int r = 0; r < TM; r++)
                UNROLL for (int p = 0; p < TN; p++)
                    acc[r][p] += *(__local VT*)(lds + (((slice * TM + r) * TN + p) * LANES + t) * VW);
    }
}

#define PLACE                                              \
    __local float lds[LDS] __attribute__((aligned(16)));   \
    const int slice = get_local_id(0) / LANES;             \
    const int t = get_local_id(0) % LANES;                 \
    const int ln = t % LN, lm = t / LN;                    \
    const int from = get_group_id(1) * BM;                 \
    const int first = get_group_id(0) * PANELS;            \
    __local float* xs = lds + slice * TILE;                \
    __local float* ws = xs + BM * PITCH;                   \
    AT a[A_LOADS];                                         \
    VT b[B_LOADS];                                         \
    VT acc[TM][TN];                                        \
    UNROLL for (int r = 0; r < TM; r++)                    \
        UNROLL for (int p = 0; p < TN; p++) acc[r][p] = (VT)(0.0f);

#define MULTIPLY_ALL                                       \
    FETCH                                                  \
    for (int round = 0; round < ROUNDS; round++) {         \
        barrier(CLK_LOCAL_MEM_FENCE);                      \
        stage(xs, ws, a, b, t);                            \
        barrier(CLK_LOCAL_MEM_FENCE);                      \
        if (round + 1 < ROUNDS) {                          \
            ADVANCE                                        \
            FETCH                                          \
        }                                                  \
        multiply(acc, xs, ws, lm, ln);                     \
    }                                                      \
    add_slices(acc, lds, t, slice);                        \
    if (slice > 0) return;

#ifdef POINT
#ifdef WINDOW_W
#define WINDOW_PARAMS \
    , __global const float* restrict taps, __global const float* restrict before INNER_PARAMS
#else
#define WINDOW_PARAMS
#endif
__kernel WAVES(4) __attribute__((reqd_work_group_size(LANES * KS, 1, 1)))
void gemm(__global const XT* restrict x, __global const WT* restrict w,
          __global const float* restrict bias, __global YT* restrict y,
          int H, int W, int C, int KC, int OW, int OHW, int M, int GN, int GROUPS, int KW, int K,
          int SH, int SW, int PT, int PL, int DH, int DW, int ROUNDS,
          int Y0, int YN, int YI, int YJ, int LDY, int YC WINDOW_PARAMS EPI_PARAMS)
{
    PLACE
    const int group = get_group_id(2);
    const int panels = (GN + VW - 1) / VW;
    const int start = slice * ROUNDS * TK;
    int k = start + t % PER_ROW * AV;
    __global const WT* wp = w
        + ((group * get_num_groups(0) + get_group_id(0)) * KS + slice) * ROUNDS * TK * BN + t * VW;
    x += group * KC;

    // Where the window of each of the lane's rows begins; outside of everything if there is none.
    int origin[A_LOADS];
#if POINT
    UNROLL for (int l = 0; l < A_LOADS; l++) {
        const int m = from + (t + l * LANES) / PER_ROW;
        origin[l] = m < M ? m * C : -1;
    }
#define ADVANCE k += TK; wp += TK * BN;
#define INSIDE(L) (origin[L] >= 0 && k < K)
#define OFFSET k
#else
    int top[A_LOADS], left[A_LOADS];
    UNROLL for (int l = 0; l < A_LOADS; l++) {
        const int m = from + (t + l * LANES) / PER_ROW;
        const int n = m / OHW, i = m % OHW / OW, j = m % OHW % OW;
        top[l] = m < M ? i * SH - PT : -(1 << 24);
        left[l] = j * SW - PL;
        origin[l] = ((n * H + i * SH - PT) * W + left[l]) * C;
    }
#ifdef WINDOW_W
#define ADVANCE k += TK; wp += TK * BN;
#define TAP_AT(L, H_, S)                                                         \
    ((uint)(top[L] + (H_) * DH) < (uint)H && (uint)(left[L] + (S) * DW) < (uint)W \
        ? XLOAD(x + origin[L] + ((H_) * DH * W + (S) * DW) * C + k) : (VT)(0.0f))
#else
    int kc = k % KC, kw = k / KC % KW, kh = k / KC / KW;
#define ADVANCE                                            \
    k += TK;                                               \
    wp += TK * BN;                                         \
    kc += TK;                                              \
    while (kc >= KC) {                                     \
        kc -= KC;                                          \
        if (++kw == KW) { kw = 0; kh++; }                  \
    }
#define INSIDE(L) (k < K && (uint)(top[L] + kh * DH) < (uint)H && (uint)(left[L] + kw * DW) < (uint)W)
#define OFFSET ((kh * DH * W + kw * DW) * C + kc)
#endif
#endif
#ifdef WINDOW_W
// A row of taps at once hides the memory; more than three do not fit the registers.
#if WINDOW_W <= 3
#define ROW_OF_TAPS UNROLL
#else
#define ROW_OF_TAPS ROLLED
#endif
#define FETCH_X                                                                  \
    UNROLL for (int l = 0; l < A_LOADS; l++) {                                   \
        const int c = k;                                                         \
        VT v = (VT)(0.0f);                                                       \
        if (k < K) {                                                             \
            v = VLOAD(before + c);                                               \
            ROLLED for (int h = 0; h < WINDOW_H; h++)                            \
                ROW_OF_TAPS for (int s = 0; s < WINDOW_W; s++)                   \
                    v += TAP_AT(l, h, s) * VLOAD(taps + (h * WINDOW_W + s) * C + c); \
            INNER                                                                \
        }                                                                        \
        a[l] = v;                                                                \
    }
#else
#define FETCH_X                                                                  \
    UNROLL for (int l = 0; l < A_LOADS; l++)                                     \
        a[l] = INSIDE(l) ? ALOAD(x + origin[l] + OFFSET) : (AT)(0.0f);
#endif
#define FETCH                                                                    \
    FETCH_X                                                                      \
    UNROLL for (int l = 0; l < B_LOADS; l++)                                     \
        if (TK * PANELS % LANES == 0 || t + l * LANES < TK * PANELS)             \
            b[l] = WLOAD(wp + l * LANES * VW);

    MULTIPLY_ALL

    UNROLL for (int r = 0; r < TM; r++) {
        const int m = from + lm + r * LM;
        if (m >= M) continue;
#if POINT
        const int pixel = Y0 + m * YJ;
#else
        const int pixel = Y0 + m / OHW * YN + m % OHW / OW * YI + m % OHW % OW * YJ;
#endif
        UNROLL for (int p = 0; p < TN; p++) {
            const int q = first + ln + p * LN;
            if (q >= panels) continue;
            const int c = group * GN + min(q * VW, GN - VW);
            const int idx = pixel * GROUPS * GN + c;
            VT v = acc[r][p] + VLOAD(bias + c);
            EPILOGUE
            YSTORE(v, y + pixel * LDY + YC + c);
        }
    }
}
#else
// x [B,M,K], w [B,K,N] of X2T, y [B,M,N]; entry b uses x + (b / B2) * XB1 + (b % B2) * XB2, and w likewise.
__kernel WAVES(4) __attribute__((reqd_work_group_size(LANES * KS, 1, 1)))
void gemm_batch(__global const XT* restrict x, __global const X2T* restrict w,
                __global YT* restrict y, int M, int K, int N, int B2,
                int XB1, int XB2, int WB1, int WB2, int ROUNDS EPI_PARAMS)
{
    PLACE
    const int batch = get_group_id(2);
    const int panels = (N + VW - 1) / VW;
    int base = slice * ROUNDS * TK;
    x += batch / B2 * XB1 + batch % B2 * XB2;
    w += batch / B2 * WB1 + batch % B2 * WB2;
#define ADVANCE base += TK;
#define FETCH                                                                    \
    UNROLL for (int l = 0; l < A_LOADS; l++) {                                   \
        const int m = from + (t + l * LANES) / PER_ROW;                          \
        const int k = base + t % PER_ROW * AV;                                   \
        a[l] = m < M && k < K ? ALOAD(x + m * K + k) : (AT)(0.0f);               \
    }                                                                            \
    UNROLL for (int l = 0; l < B_LOADS; l++) {                                   \
        const int k = base + (t + l * LANES) / PANELS;                           \
        const int q = first + (t + l * LANES) % PANELS;                          \
        b[l] = k < K && q < panels ? X2LOAD(w + k * N + min(q * VW, N - VW)) : (VT)(0.0f); \
    }

    MULTIPLY_ALL

    UNROLL for (int r = 0; r < TM; r++) {
        const int m = from + lm + r * LM;
        if (m >= M) continue;
        UNROLL for (int p = 0; p < TN; p++) {
            const int q = first + ln + p * LN;
            if (q >= panels) continue;
            const int c = min(q * VW, N - VW);
            const int idx = (batch * M + m) * N + c;
            VT v = acc[r][p];
            EPILOGUE
            YSTORE(v, y + idx);
        }
    }
}
#endif
