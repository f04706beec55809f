// dense_pair: y[o] = epilogue(c[o] + sum over h of v[h,o] * inner(b[h] + sum over k of w[h,k] * x[k]))
// x [K] XT, w [H,K] and v [H,O] WT, y [O] YT: two layers on one row, shaped for GPUs. Each work-group
// of 256 lanes computes all of the first layer, LK lanes for one h, and a lane one o of the second.
// Defines: VW (1) LK | INNER (steps on v at channel c) INNER_PARAMS | hidden is LDS [H]
#define AT_ONCE (256 / LK)

__kernel WAVES(4) __attribute__((reqd_work_group_size(256, 1, 1)))
void dense_pair(__global const XT* restrict x, __global const WT* restrict w,
                __global const float* restrict b, __global const WT* restrict v2,
                __global const float* restrict bias, __global YT* restrict y,
                __local float* hidden, int K, int H, int O INNER_PARAMS EPI_PARAMS)
{
    __local float sums[256];
    const int l = get_local_id(0), lane = l % LK;
    for (int first = 0; first < H; first += AT_ONCE) {
        const int c = first + l / LK;
        float sum = 0.0f;
        if (c < H)
            for (int k = lane; k < K; k += LK) sum += XLOAD(x + k) * WLOAD(w + (c * K + k));
        sums[l] = sum;
        for (int step = LK / 2; step > 0; step /= 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
            if (lane < step) sums[l] += sums[l + step];
        }
        if (lane == 0 && c < H) {
            VT v = sums[l] + b[c];
            INNER
            hidden[c] = v;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const int c = get_global_id(0), idx = c;
    if (c >= O) return;
    VT v = bias[c];
    for (int h = 0; h < H; h++) v += hidden[h] * WLOAD(v2 + (h * O + c));
    EPILOGUE
    YSTORE(v, y + idx);
}
