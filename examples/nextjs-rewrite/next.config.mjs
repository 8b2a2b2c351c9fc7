/** `/api/*` is answered by Python; set PYTHON_URL to where it runs (when building, too: rewrites are fixed then). */
export default {
  async rewrites() {
    return [{ source: '/api/:path*', destination: `${process.env.PYTHON_URL ?? 'http://127.0.0.1:8000'}/api/:path*` }];
  },
};
