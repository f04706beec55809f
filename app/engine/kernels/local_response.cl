// local_response: y[r,k] = x[r,k] * (bias + alpha * sum of x[r,j]^2 over |j - k| <= radius)^-beta
// x, y [R,K], N = R * K; float32. Work-item i makes the elements from i * per.
__kernel void local_response(__global const float* restrict x, __global float* restrict y,
                             int N, int K, int radius, float bias, float alpha, float beta, int per)
{
    const int from = get_global_id(0) * per, to = min(from + per, N);
    for (int i = from; i < to; i++) {
        const int k = i % K;
        const int last = i + min(radius, K - 1 - k);
        float sum = 0.0f;
        for (int j = i - min(radius, k); j <= last; j++) sum += x[j] * x[j];
        y[i] = x[i] * pow(bias + alpha * sum, -beta);
    }
}
