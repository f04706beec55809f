// layer_norm_gpu: y[r,k] = epilogue((x[r,k] - mean) / sqrt(variance + epsilon)), both over row r
// x, y [R,K]; XT, YT. A wavefront of 64 owns row r = group id, lanes side by side. Defines: VW (1)
inline float sum_of(__local float* lanes, int l, float v)
{
    for (int step = 32; step > 0; step /= 2) {
        lanes[l] = v;
        barrier(CLK_LOCAL_MEM_FENCE);
        v += lanes[l ^ step];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return v;
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void layer_norm_gpu(__global const XT* restrict x, __global YT* restrict y,
                    int R, int K, float epsilon EPI_PARAMS)
{
    __local float lanes[64];
    const int l = get_local_id(0), r = get_group_id(0);
    x += r * K;
    float sum = 0.0f, square = 0.0f;
    for (int i = l; i < K; i += 64) sum += XLOAD(x + i);
    const float mean = sum_of(lanes, l, sum) / K;
    for (int i = l; i < K; i += 64) {
        const float d = XLOAD(x + i) - mean;
        square += d * d;
    }
    const float scale = 1.0f / sqrt(sum_of(lanes, l, square) / K + epsilon);
    for (int c = l; c < K; c += 64) {
        const int idx = r * K + c;
        float v = (XLOAD(x + c) - mean) * scale;
        EPILOGUE
        YSTORE(v, y + idx);
    }
}
