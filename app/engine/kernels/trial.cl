// dots_trial: y = FOURS(y, x, w), of one vector each. It tells whether a driver can have the instruction.
// Work-item: one. Defines: VW (8 or 16)
__kernel TARGET __attribute__((reqd_work_group_size(1, 1, 1)))
void dots_trial(__global const VI* restrict x, __global const VI* restrict w,
                __global VI* restrict y)
{
    y[0] = FOURS(y[0], x[0], w[0]);
}
