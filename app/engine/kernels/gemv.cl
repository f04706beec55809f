// gemv: y[m,o] = epilogue(bias[o] + sum over k of x[m,k] * w[o,k]) for few rows m, shaped for GPUs
// x [RM,K], w [O,K], y [RM,O]; XT, YT, row-major. K is shared by LK neighbouring lanes, which read
// it side by side and add up in LDS; a work-group of 64 lanes owns 64/LK outputs.
// Defines: VW (floats of k per load, divides K) RM LK
__kernel WAVES(4) __attribute__((reqd_work_group_size(64, 1, 1)))
void gemv(__global const XT* restrict x, __global const WT* restrict w,
          __global const float* restrict bias, __global YT* restrict y,
          int K, int O, int Y0, int YJ, int LDY EPI_PARAMS)
{
    __local float sums[RM * 64];
    const int l = get_local_id(0), lane = l % LK;
    const int c = get_group_id(0) * (64 / LK) + l / LK;
    VT acc[RM];
    UNROLL for (int m = 0; m < RM; m++) acc[m] = (VT)(0.0f);
    if (c < O)
        for (int k = lane * VW; k < K; k += LK * VW) {
            const VT column = WLOAD(w + c * K + k);
            UNROLL for (int m = 0; m < RM; m++) acc[m] += XLOAD(x + m * K + k) * column;
        }
    UNROLL for (int m = 0; m < RM; m++) {
#if VW == 4
        sums[m * 64 + l] = (acc[m].s0 + acc[m].s1) + (acc[m].s2 + acc[m].s3);
#else
        sums[m * 64 + l] = acc[m];
#endif
    }
    for (int step = LK / 2; step > 0; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < step)
            UNROLL for (int m = 0; m < RM; m++) sums[m * 64 + l] += sums[m * 64 + l + step];
    }
    if (lane || c >= O) return;
#undef VT
#undef VLOAD
#undef VSTORE
#undef HLOAD
#undef HSTORE
#define VT float
#define VLOAD(p) (*(p))
#define VSTORE(v, p) (*(p) = (v))
#define HLOAD(p) vload_half(0, p)
#define HSTORE(v, p) vstore_half_rte(v, 0, p)
// The functions of vectors that these may be were made before.
#undef AWAY
#undef ERF
#undef E_PADDED
#undef E_HALF_PADDED
#define AWAY(v) round(v)
#define ERF(v) erf(v)
#define E_PADDED(p, channels, all) (c < channels ? (p)[(idx - c) / all * channels + c] : 0.0f)
#define E_HALF_PADDED(p, channels, all) \
    (c < channels ? vload_half((idx - c) / all * channels + c, p) : 0.0f)
    UNROLL for (int m = 0; m < RM; m++) {
        const int pixel = Y0 + m * YJ;
        const int idx = pixel * O + c;
        float v = sums[m * 64 + l] + bias[c];
        EPILOGUE
        YSTORE(v, y + (pixel * LDY + c));
    }
}
