"""The first part of a graph: bytes of pictures of any size become what the network was trained on.

It holds the same resize as `ferfusion.data.cache.resize`, written as two matrix products whose
matrices follow from the picture's size: averaging over areas where the picture shrinks, linear
where it grows. ONNX has no operator that gives these values. A picture that has the right size
already skips this work, which costs about a fifth of a ResNet-18 in fp32 (500 px to 224); so our
own runner resizes before the graph, and others need not.
"""

from collections.abc import Sequence

import onnx
from onnx import compose, parser

from ferfusion.inference.model_facts import name_normalised, name_picture
from ferfusion.modality import Modality
from ferfusion.preprocessing import Channels, Preprocessing

# Sizes are computed in double: with float the edges of areas in a wide picture would drift. OpenCV
# rounds a half up where it shrinks by exactly two, and to the even neighbour elsewhere.
_RESIZE = """
    shape = Shape (picture)
    height = Slice (shape, axis_1, axis_2)
    width = Slice (shape, axis_2, axis_3)
    tall_enough = GreaterOrEqual (height, size)
    wide_enough = GreaterOrEqual (width, size)
    shrinks = And (tall_enough, wide_enough)
    {rows}
    {columns}
    columns_turned = Transpose (columns)
    channels_first = Transpose <perm = [0, 3, 1, 2]> (picture)
    floats = Cast <to = 1> (channels_first)
    lower = MatMul (rows, floats)
    smaller = MatMul (lower, columns_turned)
    to_even = Round (smaller)
    shifted = Add (smaller, half)
    up = Floor (shifted)
    sides = Shape <start = 1, end = 3> (picture)
    doubled = Equal (sides, square_twice)
    doubled_numbers = Cast <to = 7> (doubled)
    doubled_both = ReduceMin <keepdims = 0> (doubled_numbers)
    by_two = Cast <to = 9> (doubled_both)
    rounded = Where (by_two, up, to_even)
    squeezed = Clip (rounded, black, white)
"""

_MATRIX = """
    {name}_n = Cast <to = 11> ({length})
    {name}_scalar = Squeeze ({name}_n)
    {name}_scale = Div ({name}_n, size_double)
    {name}_from = Range (zero_double, {name}_scalar, one_double)
    {name}_to = Add ({name}_from, one_double)
    {name}_low = Mul (targets, {name}_scale)
    {name}_high = Add ({name}_low, {name}_scale)
    {name}_start = Max ({name}_from, {name}_low)
    {name}_end = Min ({name}_to, {name}_high)
    {name}_overlap = Sub ({name}_end, {name}_start)
    {name}_positive = Max ({name}_overlap, zero_double)
    {name}_area = Div ({name}_positive, {name}_scale)
    {name}_half = Mul ({name}_scale, half_double)
    {name}_middle = Add ({name}_low, {name}_half)
    {name}_centre = Sub ({name}_middle, half_double)
    {name}_last = Sub ({name}_n, one_double)
    {name}_above = Max ({name}_centre, zero_double)
    {name}_inside = Min ({name}_above, {name}_last)
    {name}_away = Sub ({name}_inside, {name}_from)
    {name}_distance = Abs ({name}_away)
    {name}_near = Sub (one_double, {name}_distance)
    {name}_linear = Max ({name}_near, zero_double)
    {name}_double = Where (shrinks, {name}_area, {name}_linear)
    {name} = Cast <to = 1> ({name}_double)
"""

_FRONT = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
front (uint8[batch, {modality}_height, {modality}_width, 3] picture)
    => (float[batch, 3, {size}, {size}] normalised)
<int64[1] axis_1 = {{1}}, int64[1] axis_2 = {{2}}, int64[1] axis_3 = {{3}},
 int64[1] size = {{{size}}}, int64[2] square = {{{size}, {size}}},
 int64[2] square_twice = {{{twice}, {twice}}}, float half = {{0.5}},
 double[1] size_double = {{{size}.0}}, double[{size}, 1] targets = {{{targets}}},
 double zero_double = {{0.0}}, double half_double = {{0.5}}, double one_double = {{1.0}},
 float black = {{0.0}}, float white = {{255.0}},
 float[1, 3, 1, 1] mean = {{{mean}}}, float[1, 3, 1, 1] std = {{{std}}}>
{{
    seen_shape = Shape <start = 1, end = 3> (picture)
    same_sides = Equal (seen_shape, square)
    same_numbers = Cast <to = 7> (same_sides)
    same_both = ReduceMin <keepdims = 0> (same_numbers)
    fits = Cast <to = 9> (same_both)
    bytes_as_floats = If (fits) <
        then_branch = keep () => (float[batch, 3, {size}, {size}] kept) {{
            kept_bytes = Transpose <perm = [0, 3, 1, 2]> (picture)
            kept = Cast <to = 1> (kept_bytes)
        }},
        else_branch = squeeze () => (float[batch, 3, {size}, {size}] squeezed) {{
            {resize}
        }}
    >
    centred = Sub (bytes_as_floats, mean)
    normalised = Div (centred, std)
}}
"""


def add_fronts(
    core: onnx.ModelProto, modalities: Sequence[Modality], preprocessing: Preprocessing
) -> onnx.ModelProto:
    """Gives a graph from bytes to probabilities.

    Args:
        core: A graph whose inputs are normalised pictures, named as `name_normalised` says.
        modalities: Of its inputs, in their order.
        preprocessing: What the pictures must go through.
    """
    for modality in modalities:
        front = build_front(
            modality,
            preprocessing.size_px,
            preprocessing.mean[modality],
            preprocessing.std[modality],
            opset=core.opset_import[0].version,
            ir_version=core.ir_version,
        )
        name = name_normalised(modality)
        core = compose.merge_models(front, core, io_map=[(name, name)])
    # Merging turned their order round, and some people feed by place.
    places = {name_picture(m): place for place, m in enumerate(modalities)}
    inputs = sorted(core.graph.input, key=lambda each: places[each.name])
    del core.graph.input[:]
    core.graph.input.extend(inputs)
    core.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return core


def build_front(
    modality: Modality,
    size_px: int,
    mean: Channels,
    std: Channels,
    *,
    opset: int,
    ir_version: int,
) -> onnx.ModelProto:
    """Gives a graph from one modality's bytes to what the network takes.

    Args:
        modality: The name of its input.
        size_px: Side of the square that comes out.
        mean: Of values in [0, 1], per RGB channel.
        std: Likewise.
        opset: Of the graph it will be joined with.
        ir_version: Likewise.
    """
    rows, columns = (
        _MATRIX.format(name=name, length=length)
        for name, length in (("rows", "height"), ("columns", "width"))
    )
    text = _FRONT.format(
        modality=modality,
        size=size_px,
        twice=2 * size_px,
        targets=", ".join(f"{target}.0" for target in range(size_px)),
        mean=", ".join(repr(float(value) * 255) for value in mean),
        std=", ".join(repr(float(value) * 255) for value in std),
        opset=opset,
        ir_version=ir_version,
        resize=_RESIZE.format(rows=rows, columns=columns),
    )
    front = parser.parse_model(text)
    _prefix(front.graph, f"{modality}_")
    return front


def _prefix(graph: onnx.GraphProto, prefix: str) -> None:
    """Gives every value a name of its own; `compose.add_prefix` forgets inner graphs."""
    graph.name = prefix + graph.name
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = prefix + value.name
    for node in graph.node:
        node.input[:] = [prefix + name for name in node.input]
        node.output[:] = [prefix + name for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _prefix(attribute.g, prefix)
