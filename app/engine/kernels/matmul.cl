// matmul: y[b,m,n] = epilogue(sum over k of x[b,m,k] * w[b,k,n])
// x [B,M,K], w [B,K,N], y [B,M,N]; float32, both sides computed by the model.
// XB and WB are the floats between the matrices of a batch entry's operands, in the order of
// [B1][B2]: entry b uses x + (b / B2) * XB1 + (b % B2) * XB2, and w likewise.
// Work-item (t, q, b): RM rows from min(t*RM, M-RM) by NP panels of VW columns. Defines: VW RM NP
__kernel void matmul(__global const float* restrict x, __global const float* restrict w,
                     __global float* restrict y, int M, int K, int N, int B2,
                     int XB1, int XB2, int WB1, int WB2, int TILES, int SETS EPI_PARAMS)
{
    if (get_global_id(0) >= TILES || get_global_id(1) >= SETS) return;
    const int m = min((int)get_global_id(0) * RM, M - RM);
    const int panels = (N + VW - 1) / VW;
    const int first = min((int)get_global_id(1) * NP, panels - NP);
    const int b = get_global_id(2);
    __global const float* xp = x + (b / B2) * XB1 + (b % B2) * XB2 + m * K;
    w += (b / B2) * WB1 + (b % B2) * WB2;
    __global const float* wp[NP];
    UNROLL for (int p = 0; p < NP; p++) wp[p] = w + min((first + p) * VW, N - VW);
    VT acc[RM][NP];
    UNROLL for (int r = 0; r < RM; r++)
        UNROLL for (int p = 0; p < NP; p++) acc[r][p] = (VT)(0.0f);
    for (int k = 0; k < K; k++) {
        VT panel[NP];
        UNROLL for (int p = 0; p < NP; p++) panel[p] = VLOAD(wp[p] + k * N);
        UNROLL for (int r = 0; r < RM; r++) {
            const float a = xp[r * K + k];
            UNROLL for (int p = 0; p < NP; p++) acc[r][p] += a * panel[p];
        }
    }
    UNROLL for (int r = 0; r < RM; r++)
        UNROLL for (int p = 0; p < NP; p++) {
            const int c = min((first + p) * VW, N - VW);
            const int idx = (b * M + m + r) * N + c;
            VT v = acc[r][p];
            EPILOGUE
            VSTORE(v, y + idx);
        }
}
