// bytes: y[n,i,j,c] = x[n,i-PT,j-PL,c] + ZERO, the integers of x; ZERO outside of x
// x [N,H,LINE] float32: lines of W*C numbers, TOTAL in all; y [N,HP,WIDTH] and SLACK bytes more; PL in
// bytes. Work-item, CPU-shaped: line of N*HP, the last of which is LAST. Defines: VW
#define SLACK 4
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void bytes(__global const float* restrict x, __global uchar* restrict y,
           int H, int LINE, int TOTAL, int HP, int WIDTH, int PT, int PL, int LAST, int ZERO)
{
    const int line = get_global_id(0);
    const int n = line / HP, i = line % HP - PT;
    const int from = (n * H + i) * LINE;
    const int count = i < 0 || i >= H ? 0 : min(LINE, TOTAL - from);
    const int end = line == LAST ? WIDTH + SLACK : WIDTH;
    int k = 0;
    x += from;
    y += line * WIDTH;
    for (; k < PL; k++) y[k] = ZERO;
    y += PL;
    k = 0;
    for (; k + VW <= count; k += VW) BYTES_STORE(VLOAD(x + k), y + k, ZERO);
    for (; k < count; k++) y[k] = (int)x[k] + ZERO;
    for (; k < end - PL; k++) y[k] = ZERO;
}
