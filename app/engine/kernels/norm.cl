// layer_norm: y[r,k] = epilogue((x[r,k] - mean) / sqrt(variance + epsilon)), both over row r
// x, y [R,K]; float32. Work-item r owns row r. Defines: VW
__kernel void layer_norm(__global const float* restrict x, __global float* restrict y,
                         int R, int K, float epsilon EPI_PARAMS)
{
    const int r = get_global_id(0);
    if (r >= R) return;
    x += r * K;
    const int whole = K - K % VW;
    float t[VW], mean = 0.0f, square = 0.0f;
    VT sums = (VT)(0.0f);
    for (int i = 0; i < whole; i += VW) sums += VLOAD(x + i);
    TO_ARRAY(sums, t);
    for (int i = 0; i < VW; i++) mean += t[i];
    for (int i = whole; i < K; i++) mean += x[i];
    mean /= K;
    sums = (VT)(0.0f);
    for (int i = 0; i < whole; i += VW) {
        const VT d = VLOAD(x + i) - mean;
        sums += d * d;
    }
    TO_ARRAY(sums, t);
    for (int i = 0; i < VW; i++) square += t[i];
    for (int i = whole; i < K; i++) square += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / sqrt(square / K + epsilon);
    for (int i = 0; i < K; i += VW) {
        const int c = min(i, K - VW);
        const int idx = r * K + c;
        VT v = (VLOAD(x + c) - mean) * scale;
        EPILOGUE
        VSTORE(v, y + idx);
    }
}
