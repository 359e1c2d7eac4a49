"""The guide as tests: what it says about code, in its order, a short test for each statement.

Read it beside "Un recorrido peso a peso por el transformer": the section comments are its headings.
Where the guide errs, the test states what is true and its docstring begins with "Erratum".
float32 keeps about 7 digits: `CLOSE` is wide enough for sums of some hundred numbers.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from house import MODELS, load
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.testing import assert_close

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
INFINITY = float("inf")


def randn(*shape, seed=0):
    """A tensor of standard normal numbers, the same in every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# %% Regresor logístico: Broadcasting en PyTorch


def test_b_is_added_to_every_element_of_Xw():
    X, w, b = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([-1, 0, 1]), 10
    assert torch.matmul(X, w).tolist() == [2, 2]
    assert (torch.matmul(X, w) + b).tolist() == [12, 12]


def test_broadcasting_copies_nothing():
    """Five elements, all in the same place of memory: the stride is 0."""
    b = torch.tensor([10.0])
    assert b.expand(5).stride() == (0,) and b.expand(5).data_ptr() == b.data_ptr()


def test_broadcasting_does_not_join_any_two_sizes():
    """Only equal sizes, missing dimensions and sizes of 1 go together."""
    with pytest.raises(RuntimeError, match="must match"):
        torch.ones(2) + torch.ones(3)


# %% Regresor logístico: Entropía


def entropy(p):
    """H(p) = -sum p log p over the last dimension, in nats; 0 log 0 counts as 0."""
    return -torch.xlogy(p, p).sum(-1)


def cross_entropy(p, q):
    """H(p, q) = -sum p log q over the last dimension, in nats."""
    return -torch.xlogy(p, q).sum(-1)


def test_the_less_probable_the_more_surprising_and_a_certain_event_not_at_all():
    """Both 1 / p and log(1 / p) fall as p grows; only the logarithm reaches 0 at p = 1."""
    p = torch.linspace(0.01, 1, 100)
    assert ((1 / p).diff() < 0).all() and ((1 / p).log().diff() < 0).all()
    assert (1 / p)[-1] == 1 and (1 / p).log()[-1] == 0


def test_logarithms_in_base_2_give_bits_and_in_base_e_nats():
    """A fair coin: 1 bit, or ln 2 nats."""
    coin = torch.tensor([0.5, 0.5])
    assert -(coin * coin.log2()).sum() == 1
    assert_close(entropy(coin).item(), math.log(2), **CLOSE)


def test_entropy_needs_the_convention_that_0_log_0_is_0():
    certain = torch.tensor([1.0, 0.0])
    assert (certain * certain.log()).sum().isnan()
    assert entropy(certain) == 0


def test_entropy_is_greatest_when_all_events_are_equally_probable():
    uniform, others = torch.full((6,), 1 / 6), randn(1000, 6).softmax(-1)
    assert_close(entropy(uniform).item(), math.log(6), **CLOSE)
    assert (entropy(others) < entropy(uniform)).all()


def test_cross_entropy_is_least_when_q_is_p():
    """So the surprise with wrong probabilities is never below the entropy."""
    p, others = torch.tensor([0.5, 0.3, 0.2]), randn(1000, 3).softmax(-1)
    assert_close(cross_entropy(p, p), entropy(p), **CLOSE)
    assert (cross_entropy(p, others) > entropy(p)).all()


def test_cross_entropy_is_not_symmetric():
    p, q = torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])
    assert abs(cross_entropy(p, q) - cross_entropy(q, p)) > 0.1


def test_cross_entropy_is_the_mean_surprise_of_all_events():
    """Erratum: "of a certain event" is one term of the sum, which is the mean over all events."""
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    events = torch.multinomial(p, 100_000, True, generator=torch.Generator().manual_seed(0))
    # The mean of 100,000 surprises of deviation 0.5 has a deviation of 0.0017: 0.01 is six of them.
    assert_close(-q.log()[events].mean(), cross_entropy(p, q), atol=0.01, rtol=0)


def test_the_loss_of_the_book_is_the_cross_entropy_of_two_classes():
    """Equation 5.21, -(y log ŷ + (1 - y) log(1 - ŷ)), is H(y, ŷ) over the two classes."""
    y, guess = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.9, 0.2, 0.3])
    two = cross_entropy(torch.stack([y, 1 - y], -1), torch.stack([guess, 1 - guess], -1))
    assert_close(F.binary_cross_entropy(guess, y, reduction="none"), two, **CLOSE)


def test_maximum_likelihood_is_minimum_cross_entropy():
    """For 7 ones in 10 samples both choose ŷ = 0.7 of all the candidates."""
    candidates = torch.arange(1, 100) / 100
    likelihood = candidates**7 * (1 - candidates) ** 3
    model = torch.stack([candidates, 1 - candidates], -1)
    losses = cross_entropy(torch.tensor([0.7, 0.3]), model)
    assert likelihood.argmax() == losses.argmin()
    assert_close(candidates[losses.argmin()].item(), 0.7, **CLOSE)
    assert_close(-likelihood.log() / 10, losses, **CLOSE)


# %% Regresor logístico: Ejercicios de repaso


def test_in_wX_the_samples_are_columns():
    """Exercise 1: X is (n, m), w (1, n) or (n), b and y have m elements; the products are equal."""
    X, w, b = randn(7, 3), randn(3, seed=1), torch.full((7,), 10.0)
    assert (w @ X.t() + b).shape == (7,) and (w[None] @ X.t() + b).shape == (1, 7)
    assert_close(w @ X.t() + b, X @ w + b, **CLOSE)


def test_the_derivative_of_the_loss_with_respect_to_b_is_the_mean_error():
    """Exercise 2: as for a weight whose feature is always 1: ŷ - y, averaged over the samples."""
    X, w, y = randn(8, 3), randn(3, seed=1), (randn(8, seed=2) > 0).float()
    b = torch.tensor(0.5, requires_grad=True)
    guess = torch.sigmoid(X @ w + b)
    F.binary_cross_entropy(guess, y).backward()
    assert_close(b.grad, (guess - y).mean().detach(), **CLOSE)


def test_the_derivative_of_the_output_is_its_sensitivity_to_a_feature():
    """Exercise 3: ŷ (1 - ŷ) w_i predicts how much ŷ moves when x_i moves a little."""
    x, w, step = randn(3).double(), randn(3, seed=1).double(), 1e-6
    guess = torch.sigmoid(w @ x)
    moved = torch.sigmoid(w @ (x + step * torch.eye(3)[1]))
    assert_close((moved - guess) / step, guess * (1 - guess) * w[1], **CLOSE)


# %% Embeddings incontextuales: Notación de Einstein


def test_einsum_is_the_diagonal_of_AB():
    """A B has the product of every word with every context; only that with its own is wanted."""
    A, B = randn(4, 3), randn(3, 4, seed=1)
    one_by_one = torch.stack([torch.dot(A[i], B[:, i]) for i in range(4)])
    assert (A @ B).shape == (4, 4)
    assert_close((A @ B).diagonal(), one_by_one, **CLOSE)
    assert_close(torch.einsum("ij,ji->i", A, B), one_by_one, **CLOSE)


def test_pytorch_has_other_ways_to_the_same_products():
    """Erratum: "in principle" no operation fits; `torch.linalg.vecdot` does, on rows."""
    A, B = randn(4, 3), randn(3, 4, seed=1)
    d = torch.einsum("ij,ji->i", A, B)
    assert_close(torch.linalg.vecdot(A, B.t()), d, **CLOSE)
    assert_close((A * B.t()).sum(1), d, **CLOSE)
    assert_close(torch.bmm(A[:, None], B.t()[:, :, None]).flatten(), d, **CLOSE)


def test_in_the_sum_c_ji_is_an_element_of_B_not_of_the_vector_c_j():
    """Erratum: with contexts as columns, B_ji is element j of c_i: it should be called c_i,j."""
    words, contexts = randn(4, 4), randn(4, 4, seed=1)
    d = torch.stack([torch.dot(words[i], contexts[i]) for i in range(4)])
    assert_close(torch.einsum("ij,ij->i", words, contexts), d, **CLOSE)
    assert_close(torch.einsum("ij,ji->i", words, contexts.t()), d, **CLOSE)
    assert not torch.allclose(torch.einsum("ij,ji->i", words, contexts), d, atol=0.1)


# %% Embeddings incontextuales: Ejercicios de repaso


def test_an_analogy_is_completed_by_the_nearest_word_to_C_plus_B_minus_A():
    """In a made-up space with one axis per idea, the method finds the expected word."""
    space = {
        "Paris": [5, 0, 0, 0, 0],
        "France": [5, 0, 0, 2, 0],
        "Louvre": [6, 0, 0, 0, 2],
        "London": [0, 5, 0, 0, 0],
        "UK": [0, 5, 0, 2, 0],
        "Italy": [0, 0, 5, 2, 0],
        "cloud": [0, 0, 1, 0, 5],
    }
    vectors = {word: torch.tensor(numbers).float() for word, numbers in space.items()}
    goal = vectors["London"] + vectors["France"] - vectors["Paris"]
    others = [word for word in space if word not in ("Paris", "France", "London")]
    nearest = max(others, key=lambda word: F.cosine_similarity(vectors[word], goal, dim=0))
    assert nearest == "UK"


def test_an_analogy_needs_equal_differences_not_only_equal_distances():
    """Erratum: "man is to woman as queen to king" has the same distances between vectors."""
    man, woman = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0])
    king, queen = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    assert torch.dist(man, woman) == torch.dist(king, queen) == torch.dist(queen, king)
    assert torch.equal(woman - man, queen - king)
    assert not torch.equal(woman - man, king - queen)


# %% Fundamentos de los transformers


def attend(q, k, v, M=0.0):
    """softmax((Q Kᵀ + M) / √d_k) V, written as in the guide."""
    return torch.softmax((q @ k.mT + M) / k.shape[-1] ** 0.5, dim=-1) @ v


def test_the_equation_of_attention_is_that_of_pytorch():
    q, k, v = randn(2, 5, 8), randn(2, 5, 8, seed=1), randn(2, 5, 8, seed=2)
    assert_close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v), **CLOSE)


# %% Fundamentos de los transformers: Atención escalada


def products(m, C=1000, mean=0.0):
    """Q Kᵀ for 10 sentences of 100 tokens, elements of deviation m: 100,000 numbers."""
    Q, K = randn(10, 100, C) * m + mean, randn(10, 100, C, seed=1) * m + mean
    return Q.matmul(K.transpose(-2, -1))


# The variance of n independent normal numbers has a relative deviation of √(2 / n): 0.0045 for
# 100,000, and hardly more for these, which share their queries and keys: 0.05 is ten of them.
SAMPLE = {"atol": 0, "rtol": 0.05}


def test_longer_embeddings_have_dot_products_of_larger_size_not_larger_value():
    """Erratum: the result may be negative; what grows, with √C, is its size."""
    short, long = products(1, C=250), products(1, C=1000)
    assert_close(long.abs().mean() / short.abs().mean(), torch.tensor(2.0), **SAMPLE)
    assert abs(long.mean()) < 0.05 * long.std()


def test_the_softmax_saturates_by_large_differences_not_by_large_values():
    """Erratum: the softmax depends only on the differences between the values."""
    scores = torch.tensor([1.0, 3.0, 2.0])
    assert_close(torch.softmax(100 * scores, 0), torch.tensor([0.0, 1.0, 0.0]), **CLOSE)
    assert_close(torch.softmax(scores + 1000, 0), torch.softmax(scores, 0), **CLOSE)


def test_elements_of_variance_1_have_products_of_variance_C():
    assert_close(products(1).var(), torch.tensor(1000.0), **SAMPLE)


def test_that_holds_for_elements_of_mean_0():
    """Erratum: the condition is missing. With mean 1 and variance 1 it is C (1 + 1 + 1)."""
    # Each q moves a whole row, each k a column: 1000 of each, so a deviation of 0.02, not 0.005.
    assert_close(products(1, mean=1.0).var(), torch.tensor(3000.0), atol=0, rtol=0.15)


def test_divided_by_the_root_of_C_the_variance_is_1_again():
    assert_close((products(1) / 1000**0.5).var(), torch.tensor(1.0), **SAMPLE)


def test_standard_deviation_m_gives_variance_m4_C():
    """Erratum: "variance m" is deviation m in the code: for m = 2, 16 C and then 16."""
    assert_close(products(2).var(), torch.tensor(2.0**4 * 1000), **SAMPLE)
    assert_close((products(2) / 1000**0.5).var(), torch.tensor(2.0**4), **SAMPLE)


def test_variance_m_gives_variance_m2_C():
    """... and elements of variance 2 have deviation √2: products of variance 4 C, not 16 C."""
    assert_close(products(2**0.5).var(), torch.tensor(2.0**2 * 1000), **SAMPLE)


def test_without_the_root_the_softmax_saturates_and_with_it_not():
    """With the sizes of the guide, over 10 tokens: 0.99 for one of them, or about 0.31."""
    Q, K = randn(10, 10, 5000), randn(10, 10, 5000, seed=1)
    QK = Q.matmul(K.transpose(-2, -1))
    highest = torch.softmax(QK, dim=-1).max(dim=-1)[0]
    scaled = torch.softmax(QK / 5000**0.5, dim=-1).max(dim=-1)[0]
    assert highest.mean() > 0.96
    assert 0.25 < scaled.mean() < 0.4


def test_the_highest_softmax_is_one_of_each_query():
    """Erratum: not "of each channel": the sum over C leaves one for each sentence and row."""
    s = torch.softmax(products(1), dim=-1)
    assert s.max(dim=-1)[0].shape == (10, 100)
    assert_close(s.sum(-1), torch.ones(10, 100), **CLOSE)


# %% Fundamentos de los transformers: Ejercicios de repaso


def future(T, value=-INFINITY):
    """Exercise 2, the mask M, (T, T): `value` above the diagonal, the future, and 0 elsewhere."""
    return torch.full((T, T), value).triu(1)


def test_a_query_equal_to_its_key_does_not_return_its_value():
    """Exercise 1: false. Every other token keeps a weight, and one may have the largest."""
    q = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    v = torch.eye(2)
    weights = attend(q, q, v)  # with the identity as values, the outputs are the weights
    assert weights[0, 0] < weights[0, 1] < 1


def test_with_M_no_output_depends_on_the_future():
    q, k, v = randn(5, 8), randn(5, 8, seed=1), randn(5, 8, seed=2)
    before = attend(q, k, v, future(5))
    k[3:], v[3:] = 7, 1e6
    assert torch.equal(attend(q, k, v, future(5))[:3], before[:3])
    assert not torch.allclose(attend(q, k, v)[:3], before[:3])


def test_M_inside_the_division_masks_as_well_as_outside():
    """-inf / √d_k is -inf, so that M may be added before or after the division."""
    q, k, v = randn(5, 8), randn(5, 8, seed=1), randn(5, 8, seed=2)
    outside = F.scaled_dot_product_attention(q, k, v, attn_mask=future(5))
    assert_close(attend(q, k, v, future(5)), outside, **CLOSE)


def test_the_large_number_must_be_negative():
    """Erratum: 10⁹, added to the scores, would hide everything but the future."""
    q, k, v = randn(5, 8), randn(5, 8, seed=1), torch.eye(5)
    weights = attend(q, k, v, future(5, value=1e9))
    assert (weights.tril()[:4] == 0).all()


def test_minus_a_thousand_million_equals_minus_infinity_in_float32():
    """Enough: its exponential is exactly 0."""
    q, k, v = randn(5, 8), randn(5, 8, seed=1), randn(5, 8, seed=2)
    assert torch.equal(attend(q, k, v, future(5, value=-1e9)), attend(q, k, v, future(5)))


def test_a_number_that_is_not_large_leaks_the_future():
    q, k = torch.zeros(5, 8), torch.zeros(5, 8)
    weights = attend(q, k, torch.eye(5), future(5, value=-10.0))
    assert weights[0, 1] > 0.01


def test_minus_a_thousand_million_is_minus_infinity_in_float16():
    """The largest number of float16 is 65504."""
    assert torch.tensor(-1e9).half() == -INFINITY
    assert torch.tensor(-1e9).bfloat16() > -INFINITY


def test_a_row_all_hidden_is_nan_with_infinity_and_uniform_with_a_number():
    """Neither is a useful result, but NaN is easier to notice."""
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert torch.softmax(scores - INFINITY, 0).isnan().all()
    assert torch.softmax(scores - 1e9, 0).tolist() == [0.25] * 4


def test_M_hides_the_padding_of_a_batch():
    """Exercise 3: with -inf in the columns of the padding, the words give what they give alone."""
    words, padding = randn(3, 8), torch.full((2, 8), 9.0)
    sentence = torch.cat([words, padding])
    M = torch.zeros(5, 5)
    M[:, 3:] = -INFINITY
    assert_close(attend(sentence, sentence, sentence, M)[:3], attend(words, words, words), **CLOSE)


def test_only_the_embedding_matrix_ignores_the_context():
    """Exercise 4: the same token in two sentences, before and after one layer of attention."""
    embeddings = randn(10, 8)
    one, two = embeddings[torch.tensor([3, 5])], embeddings[torch.tensor([3, 7])]
    assert torch.equal(one[0], two[0])
    assert not torch.allclose(attend(one, one, one)[0], attend(two, two, two)[0], atol=0.01)


def positional_encodings(length, d):
    """The positional encodings of 05_transformer, (length, d)."""
    (transformer,) = [path for path in MODELS if path.stem == "transformer"]
    return load(transformer).positions(length, d)


def cosine(e, p, other):
    """The formula of exercise 5, over the last dimension."""
    x, y = e + p, e + other
    return (x * y).sum(-1) / ((x**2).sum(-1) * (y**2).sum(-1)) ** 0.5


def test_the_formula_is_the_cosine_over_all_the_elements():
    """Erratum: the vector has n elements, the sums run to d: it is the same number."""
    e, p = randn(64), positional_encodings(9, 64)
    assert_close(cosine(e, p[0], p[8]), F.cosine_similarity(e + p[0], e + p[8], dim=0), **CLOSE)


def test_the_product_of_two_positions_depends_on_their_distance_only():
    p = positional_encodings(200, 64)
    assert_close(p[3] @ p[13], p[150] @ p[160], **CLOSE)


def test_the_farther_apart_two_occurrences_the_smaller_their_cosine():
    """Exercise 5, near: mean over 200 tokens whose elements have variance 1."""
    e, p = randn(200, 512), positional_encodings(513, 512)
    means = torch.stack([cosine(e, p[0], p[distance]).mean() for distance in (0, 1, 4, 32, 512)])
    assert_close(means[0].item(), 1.0, **CLOSE)
    assert (means.diff() < -0.005).all()


def test_far_apart_the_cosine_approaches_two_thirds_not_0():
    """Exercise 5, far: p and p' become almost perpendicular, but both sums contain e.

    With |e|² = d and |p|² = d / 2 the cosine oscillates around d / (d + d / 2) = 2/3 or a little
    more, since the slowest sinusoids have not completed a period in 4000 tokens.
    """
    e, p = randn(200, 512), positional_encodings(4001, 512)
    far = torch.stack([cosine(e, p[0], p[distance]).mean() for distance in range(2000, 4001, 100)])
    assert (0.6 < far).all() and (far < 0.75).all()
    assert (far.diff() > 0).any() and (far.diff() < 0).any()


# %% PyTorch: Desestrujando tensores


@pytest.mark.parametrize(
    "position, shape", [(1, (2, 1, 3, 4)), (0, (1, 2, 3, 4)), (-1, (2, 3, 4, 1))]
)
def test_unsqueeze_adds_a_dimension_of_size_1(position, shape):
    assert torch.ones(2, 3, 4).unsqueeze(position).shape == shape


def test_one_word_becomes_a_minibatch_and_its_answer_a_vector():
    """The guide writes (10), which is a number for Python: the shape is (10,)."""
    embedding, tagger = randn(32), torch.nn.Linear(32, 10)
    answer = tagger(embedding.unsqueeze(0))
    assert answer.shape == (1, 10) and answer.squeeze(0).shape == (10,)


def test_squeeze_removes_all_sizes_of_1_or_the_one_that_is_named():
    t = torch.ones(1, 2, 1, 3)
    assert t.squeeze().shape == (2, 3) and t.squeeze(0).shape == (2, 1, 3)
    assert t.squeeze(1).shape == t.shape


def test_the_accordion_opens_with_unsqueeze():
    """Erratum: the example and its paragraph say `squeeze` for `unsqueeze`."""
    a = torch.tensor([[1, 2], [3, 4]])
    assert a.unsqueeze(0).tolist() == [[[1, 2], [3, 4]]]
    assert a.unsqueeze(1).tolist() == [[[1, 2]], [[3, 4]]]
    assert a.unsqueeze(2).tolist() == [[[1], [2]], [[3], [4]]]
    with pytest.raises(IndexError, match="Dimension out of range"):
        a.unsqueeze(3)


def test_squeeze_would_not_open_the_accordion():
    """Erratum: with `squeeze` nothing changes, and 2 is out of range."""
    a = torch.tensor([[1, 2], [3, 4]])
    assert torch.equal(a.squeeze(0), a) and torch.equal(a.squeeze(1), a)
    with pytest.raises(IndexError, match="Dimension out of range"):
        a.squeeze(2)


def test_in_the_example_minus_1_is_2():
    """Erratum: not 3, which is out of range; -1 is the last of the places 0, 1, 2."""
    a = torch.tensor([[1, 2], [3, 4]])
    assert torch.equal(a.unsqueeze(-1), a.unsqueeze(2))
    assert not torch.equal(a.unsqueeze(-1), a.unsqueeze(1))


def test_squeeze_is_that_view_also_when_no_dimension_is_left():
    """Erratum: `view(*[])` is an error; `view([])` works for every shape."""
    t = randn(1, 2, 1, 3)
    assert torch.equal(t.squeeze(), t.view(*[s for s in t.shape if s != 1]))
    t = torch.ones(1, 1)
    with pytest.raises(TypeError, match="invalid combination of arguments"):
        t.view(*[s for s in t.shape if s != 1])
    assert torch.equal(t.squeeze(), t.view([s for s in t.shape if s != 1]))


@pytest.mark.parametrize("i", range(4))
def test_unsqueeze_is_a_view_with_a_one(i):
    """Which moves nothing in memory."""
    t = randn(2, 3, 4)
    assert torch.equal(t.unsqueeze(i), t.view(*t.shape[:i], 1, *t.shape[i:]))
    assert t.unsqueeze(i).data_ptr() == t.data_ptr()


@pytest.mark.parametrize("i", range(-3, 0))
def test_for_negative_positions_that_view_counts_from_one_dimension_more(i):
    """Erratum: for -1 the formula puts the 1 before the last dimension; -1 must become 3 first."""
    t = randn(2, 3, 4)
    right = i % (t.dim() + 1)
    assert torch.equal(t.unsqueeze(i), t.view(*t.shape[:right], 1, *t.shape[right:]))
    assert t.unsqueeze(i).shape != (*t.shape[:i], 1, *t.shape[i:])


# %% PyTorch: Vectores fila y columna

a = torch.tensor([[1, 2], [3, 5]])
b = torch.tensor([2, 3])


def test_mm_takes_two_matrices():
    """Erratum: (2, 2) and (2) are compatible sizes; the error is that b is no matrix."""
    with pytest.raises(RuntimeError, match="must be a matrix"):
        torch.mm(a, b)
    with pytest.raises(RuntimeError, match="must be a matrix"):
        torch.mm(a, torch.ones(3, 2, 2))


def test_matmul_takes_the_vector_as_it_is():
    """`mm` takes b as a column or as a row; then the two assertions of the guide."""
    assert torch.mm(a, b.unsqueeze(1)).tolist() == [[8], [21]]
    assert torch.mm(b.unsqueeze(0), a).tolist() == [[11, 19]]
    assert torch.equal(torch.mm(b.unsqueeze(0), a).squeeze(), torch.matmul(b, a))
    assert torch.equal(torch.mm(a, b.unsqueeze(1)).squeeze(), torch.matmul(a, b))
    assert torch.matmul(a, b).shape == torch.matmul(b, a).shape == (2,)


def test_matmul_broadcasts():
    batch = randn(3, 2, 2)
    together = torch.matmul(batch, a.float())
    assert_close(together, torch.stack([torch.mm(one, a.float()) for one in batch]), **CLOSE)


# %% PyTorch: Representación en memoria de los tensores


def matrix():
    """The 4x3 matrix of the section."""
    return torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]])


def memory(t):
    """The numbers of the tensor's storage, in the order in which they lie there."""
    return torch.as_strided(t, (t.numel(),), (1,)).tolist()


def test_the_stride_is_how_many_elements_to_jump():
    """Strides count elements, not bytes: an integer here has 8 bytes, and a row has 3 integers."""
    t = matrix()
    assert memory(t) == list(range(1, 13)) and t.stride() == (3, 1)
    assert all(t[i, j] == memory(t)[3 * i + j] for i in range(4) for j in range(3))
    assert t[1].data_ptr() - t[0].data_ptr() == 3 * t.element_size()


def test_transposing_changes_the_strides_and_moves_nothing():
    """The new tensor has other strides; those of the old one do not change."""
    a = matrix()
    t = a.t()
    assert t.stride() == (1, 3) and a.stride() == (3, 1)
    assert a.data_ptr() == t.data_ptr() and memory(t) == memory(a)


def test_view_changes_the_strides_and_moves_nothing():
    a = matrix()
    assert a.view(2, 6).stride() == (6, 1) and a.view(2, 6).data_ptr() == a.data_ptr()


def test_going_from_the_last_dimension_to_the_first_the_strides_get_larger():
    """Erratum: not smaller but larger strides: the elements that are neighbours come first."""
    first, last = matrix().stride()
    assert last < first
    assert matrix().flatten().tolist() == memory(matrix())
    assert matrix().t().flatten().tolist() == [1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]


def test_view_refuses_what_would_need_moving():
    t = matrix().t()
    assert matrix().is_contiguous() and not t.is_contiguous()
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        t.view(-1)
    assert t.contiguous().view(-1).tolist() == t.flatten().tolist()


def test_contiguous_copies_and_puts_in_order_what_is_not():
    t = matrix().t()
    copy = t.contiguous()
    assert copy.stride() == (4, 1) and copy.data_ptr() != t.data_ptr()
    assert torch.equal(copy, t) and memory(copy) != memory(t)
    assert copy.contiguous() is copy


def test_each_stride_is_the_product_of_the_later_sizes():
    assert torch.ones(5, 4, 3, 2).stride() == (24, 6, 2, 1)


def test_the_strides_decrease_only_where_the_next_size_is_more_than_1():
    """Erratum: not "always larger": before a dimension of size 1 the stride is the same."""
    assert torch.ones(3, 1).stride() == (1, 1) and torch.ones(3, 1).is_contiguous()
    assert torch.ones(2, 1, 1, 3).stride() == (3, 3, 3, 1)


# %% PyTorch: Modos de usar Matplotlib

x = np.linspace(0, 2 * np.pi, 400)
y = np.sin(x**2)


def pixels(figure):
    """The figure as an array, (height, width, 4)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def draw_explicitly(figure):
    """The second way of the guide: methods of the figure and of its axes."""
    ax = figure.subplots()
    figure.suptitle("Sinusoidal function")
    ax.plot(x, y)
    return figure


def test_both_ways_draw_the_same_figure():
    plt.figure()
    plt.subplot()
    plt.suptitle("Sinusoidal function")
    plt.plot(x, y)
    implicit, explicit = plt.gcf(), draw_explicitly(plt.figure())
    assert implicit is not explicit and np.array_equal(pixels(implicit), pixels(explicit))
    assert pixels(implicit).std() > 0  # they are not blank


def test_the_implicit_example_opens_a_second_figure():
    """Erratum: `plt.subplots()` makes another figure, and that of `plt.figure()` stays empty."""
    plt.figure()
    plt.subplots()
    assert plt.get_fignums() == [1, 2]
    assert [len(plt.figure(number).axes) for number in (1, 2)] == [0, 1]


def test_the_explicit_example_still_has_its_figure_in_the_global_state():
    """`plt.figure()` registers it; the class `Figure` does not, and draws the same."""
    registered = draw_explicitly(plt.figure())
    assert plt.gcf() is registered
    plt.close("all")
    free = draw_explicitly(Figure())
    assert plt.get_fignums() == []
    assert np.array_equal(pixels(free), pixels(registered))


def test_fig_show_needs_a_figure_made_by_pyplot():
    with pytest.raises(AttributeError, match="pyplot.figure"):
        draw_explicitly(Figure()).show()
