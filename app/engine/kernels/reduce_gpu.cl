// reduce_gpu: y[s,a,b,c] = epilogue(DONE(fold of STEP over p,q of x[a,p,b,q,c])), shaped for GPUs
// x [A,P,B,Q,C], y [SLICES,A,B,C]; XT, YT: slice s of SLICES takes its part of all p,q. A work-group
// of GROUP owns GROUP/SHARE vectors of VW neighbours along C at one (s,a,b); SHARE lanes take the
// values of P and Q in turn and are folded in LDS.
// Work-group (i, b, s*A+a). An epilogue sees channels of L, which vectors do not cross.
// Defines: VW SHARE GROUP | INIT STEP DONE (text on v and in; DONE may use int count)
#define OWN (GROUP / SHARE)
// Loads that wait together.
#define FOUR _Pragma("unroll 4")

__kernel WAVES(4) __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void reduce_gpu(__global const XT* restrict x, __global YT* restrict y,
                int A, int P, int B, int Q, int C, int L, int SLICES, int count EPI_PARAMS)
{
    __local float folded[GROUP * VW] __attribute__((aligned(16)));
    const int l = get_local_id(0), own = l % OWN, part = l / OWN;
    const int vector = get_group_id(0) * OWN + own;
    const int at = min(vector * VW, C - VW);
    const int b = get_group_id(1), a = get_group_id(2) % A, slice = get_group_id(2) / A;
    const int each = (P * Q + SLICES - 1) / SLICES;
    const int begin = slice * each, end = min(begin + each, P * Q);
    // Divided once: the card takes long for it.
    int p = (begin + part) / Q, q = (begin + part) % Q;
    const int rows = SHARE / Q, columns = SHARE % Q;
    VT v = (VT)(INIT);
    FOUR for (int i = begin + part; i < end; i += SHARE) {
        const VT in = XLOAD(x + (((a * P + p) * B + b) * Q + q) * C + at);
        STEP
        p += rows;
        q += columns;
        if (q >= Q) {
            q -= Q;
            p++;
        }
    }
    for (int step = SHARE / 2; step > 0; step /= 2) {
        *(__local VT*)(folded + l * VW) = v;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (part < step && part + step < end - begin) {
            const VT in = *(__local const VT*)(folded + (l + step * OWN) * VW);
            STEP
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (part || vector * VW >= C) return;
    DONE
    const int idx = ((slice * A + a) * B + b) * C + at, c = idx % L;
    EPILOGUE
    YSTORE(v, y + idx);
}
