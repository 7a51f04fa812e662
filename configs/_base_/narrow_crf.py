# A dense CRF for the generated Shapes images, with narrow kernels: these
# images are 96 pixels wide.
narrow_crf = dict(
    num_iters=5,
    gaussian_sxy=1,
    gaussian_compat=2,
    bilateral_sxy=20,
    bilateral_srgb=8,
    bilateral_compat=3)
