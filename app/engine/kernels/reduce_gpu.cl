// reduce_gpu: y[a,b,c] = epilogue(DONE(fold of STEP over p,q of x[a,p,b,q,c])), shaped for GPUs
// x [A,P,B,Q,C], y [A,B,C]; XT, YT. A work-group of 64 owns 64/SHARE vectors of VW neighbours along
// C at one (a,b); SHARE lanes take the values of P and Q in turn and are folded in LDS.
// Work-group (i, b, a). An epilogue sees channels of L, which vectors do not cross.
// Defines: VW SHARE | INIT STEP DONE (text on v and in; DONE may use int count)
__kernel WAVES(4) __attribute__((reqd_work_group_size(64, 1, 1)))
void reduce_gpu(__global const XT* restrict x, __global YT* restrict y,
                int A, int P, int B, int Q, int C, int L EPI_PARAMS)
{
    __local float folded[64 * VW] __attribute__((aligned(16)));
    const int l = get_local_id(0), own = l % (64 / SHARE), part = l / (64 / SHARE);
    const int vector = get_group_id(0) * (64 / SHARE) + own;
    const int at = min(vector * VW, C - VW);
    const int b = get_group_id(1), a = get_group_id(2);
    const int count = P * Q;
    VT v = (VT)(INIT);
    for (int i = part; i < count; i += SHARE) {
        const VT in = XLOAD(x + (((a * P + i / Q) * B + b) * Q + i % Q) * C + at);
        STEP
    }
    for (int step = SHARE / 2; step > 0; step /= 2) {
        *(__local VT*)(folded + l * VW) = v;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (part < step && part + step < count) {
            const VT in = *(__local const VT*)(folded + (l + step * (64 / SHARE)) * VW);
            STEP
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (part || vector * VW >= C) return;
    DONE
    const int idx = (a * B + b) * C + at, c = idx % L;
    EPILOGUE
    YSTORE(v, y + idx);
}
