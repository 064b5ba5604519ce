"""Small ONNX models with random weights, exported by torch, and torch's own outputs on tests/data/images.

Needs torch, torchvision, transformers, tokenizers, onnx, numpy and Pillow. Images are decoded, turned, laid over white,
resized and cropped by Pillow and torchvision; models then run in torch, not in an ONNX runtime.

    python make_onnx.py            writes tests/data/onnx

cnn.onnx          convolutions, (n, 3, 64, 64) -> (n, 24); preset resnet. Statistics of its batch norm are those of the images,
                  so that outputs differ from image to image.
map.onnx          the same before its pooling, size open, (n, 16, h, w); channels last (n, h, w, 3) -> (n, h, w, 16) as map_nhwc.onnx
vit.onnx          tokens (n, 17, 32); preprocessor_config.json in vit/
clip/             an image and a text model of transformers' CLIP, with tokenizer.json and preprocessor_config.json
bert/             a text model with tokens as output, WordPiece
*.npy, expected.json    what torch gives
bad/              models that are to be refused
"""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision.transforms as T
from onnx import TensorProto, helper
from PIL import Image, ImageOps
from torch import nn
from torchvision.transforms import InterpolationMode

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "images"
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
TEXTS = [
    "a red bicycle",
    "two cats on a sofa, asleep",
    "The Cat sat; it's 12 o'clock!",
    "café naïve résumé",
    "x",
    "a very long text that goes on and on about bicycles and cats and sofas and clocks until nobody wants to read it any more "
    "because there is nothing new in it, only cats, bicycles, sofas and clocks",
]
warnings.filterwarnings("ignore")


def open_image(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    white.alpha_composite(image)
    return white.convert("RGB")


def prepared(images, resize, crop, norm, filter=InterpolationMode.BILINEAR):
    steps = [T.Resize(resize, filter)] + ([T.CenterCrop(crop)] if crop else []) + [T.ToTensor(), T.Normalize(*norm)]
    return torch.stack([T.Compose(steps)(i) for i in images])


def export(model, args, path, inputs, outputs, dynamic):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(model, args, path, input_names=inputs, output_names=outputs, dynamic_axes=dynamic, dynamo=False, opset_version=17)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()

        def block(a, b, stride):
            return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

        self.features = nn.Sequential(block(3, 12, 2), block(12, 16, 2), block(16, 16, 2), block(16, 16, 1))
        self.head = nn.Linear(16, 24)

    def forward(self, x):
        x = self.features(x)
        return self.head(x.mean((2, 3)) - 0.4)


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Last(Wrapped):
    """Channels last, inside and out."""

    def forward(self, x):
        return self.inner(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    def __init__(self, d, heads=4):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.a, self.b = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(self.a(x)).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        w = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
        x = x + self.out((w @ v).transpose(1, 2).reshape(n, t, d))
        return x + self.mlp(self.b(x))


class Vit(nn.Module):
    def __init__(self, d=32, side=56, patch=14):
        super().__init__()
        self.patches = nn.Conv2d(3, d, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, d))
        self.position = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, d) * 0.2)
        self.blocks = nn.Sequential(Block(d), Block(d))
        self.norm = nn.LayerNorm(d)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.norm(self.blocks(x))


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def clip(images, out):
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

    tok = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tok.train_from_iterator(TEXTS * 4, trainer)
    tok.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), add_prefix_space=False, trim_offsets=False)
    (HERE / "clip").mkdir(exist_ok=True)
    tok.save(str(HERE / "clip/tokenizer.json"))
    common = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, projection_dim=24)
    # the filler is the end; the first end is what is taken
    text = CLIPTextConfig(vocab_size=tok.get_vocab_size(), max_position_embeddings=20, bos_token_id=0, eos_token_id=1, pad_token_id=1, **common)
    vision = CLIPVisionConfig(image_size=48, patch_size=16, **common)
    text._attn_implementation = vision._attn_implementation = "eager"
    torch.manual_seed(3)
    text, vision = CLIPTextModelWithProjection(text).eval(), CLIPVisionModelWithProjection(vision).eval()
    for p in list(text.parameters()) + list(vision.parameters()):
        if p.dim() > 1:
            nn.init.normal_(p, std=0.3)
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    write_json(
        HERE / "clip/preprocessor_config.json",
        {
            "crop_size": {"height": 48, "width": 48}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True,
            "do_resize": True, "image_mean": mean, "image_processor_type": "CLIPImageProcessor", "image_std": std, "resample": 3,
            "rescale_factor": 1 / 255, "size": {"shortest_edge": 48},
        },
    )
    write_json(HERE / "clip/tokenizer_config.json", {"model_max_length": 20})

    class Images(Wrapped):
        def forward(self, pixel_values):
            return self.inner(pixel_values=pixel_values).image_embeds

    class Texts(Wrapped):
        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).text_embeds

    vision, text = Images(vision), Texts(text)
    x = transformers_clip(images, mean, std)
    out["clip"] = vision(x)
    export(vision, (x[:1],), HERE / "clip/vision.onnx", ["pixel_values"], ["image_embeds"], {"pixel_values": {0: "n"}, "image_embeds": {0: "n"}})
    tok.enable_truncation(20)
    tok.enable_padding(pad_id=1, pad_token="<|endoftext|>")
    batch = tok.encode_batch(TEXTS)
    ids, mask = (torch.tensor([getattr(e, k) for e in batch]) for k in ["ids", "attention_mask"])
    out["clip_text"] = text(ids, mask)
    axes = {"input_ids": {0: "n", 1: "t"}, "attention_mask": {0: "n", 1: "t"}, "text_embeds": {0: "n"}}
    export(text, (ids[:2], mask[:2]), HERE / "clip/text.onnx", ["input_ids", "attention_mask"], ["text_embeds"], axes)
    return [e.ids for e in batch]


def transformers_clip(images, mean, std):
    """As CLIPImageProcessor: the middle is cut at (size - crop) // 2, where torchvision rounds."""
    rows = []
    for image in images:
        w, h = image.size
        new = (48, int(48 * h / w)) if w <= h else (int(48 * w / h), 48)
        image = image.resize(new, Image.Resampling.BICUBIC)
        left, top = (new[0] - 48) // 2, (new[1] - 48) // 2
        pixels = np.asarray(image.crop((left, top, left + 48, top + 48)), np.float32) / 255
        rows.append(torch.from_numpy(((pixels - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)))
    return torch.stack(rows)


def bert(out):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel

    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tok.train_from_iterator(TEXTS * 4, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False))
    tok.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    (HERE / "bert").mkdir(exist_ok=True)
    tok.save(str(HERE / "bert/tokenizer.json"))
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=tok.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=128
    )
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=False).eval()
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.3)

    class Tokens(Wrapped):
        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    tok.enable_truncation(128)
    tok.enable_padding()
    batch = tok.encode_batch(TEXTS)
    ids, mask = (torch.tensor([getattr(e, k) for e in batch]) for k in ["ids", "attention_mask"])
    kinds = torch.zeros_like(ids)
    model = Tokens(model)
    tokens = model(ids, mask, kinds)
    weight = mask[:, :, None].float()
    out["bert_mean"], out["bert_cls"] = (tokens * weight).sum(1) / weight.sum(1), tokens[:, 0]
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {n: {0: "n", 1: "t"} for n in [*names, "last_hidden_state"]}
    export(model, (ids[:2], mask[:2], kinds[:2]), HERE / "bert/model.onnx", names, ["last_hidden_state"], axes)


def bad():
    folder = HERE / "bad"
    folder.mkdir(exist_ok=True)
    whole = (HERE / "cnn.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "text.onnx").write_text("not a model\n")
    (folder / "empty.onnx").write_bytes(b"")

    def save(name, nodes, inputs, outputs, weights=()):
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
        graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / name)

    def port(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    image = port("x", ["n", 3, 8, 8])
    relu = helper.make_node("Relu", ["x"], ["y"])
    mean = helper.make_node("ReduceMean", ["y"], ["z"], axes=[2, 3], keepdims=0)
    save("operator.onnx", [helper.make_node("Whirl", ["x"], ["y"], domain="org.example"), mean], [image], [port("z", ["n", 3])])
    save("rank.onnx", [relu], [port("x", ["n", 192])], [port("y", ["n", 192])])
    save("channels.onnx", [relu], [port("x", ["n", 1, 8, 8])], [port("y", ["n", 1, 8, 8])])
    save("integers.onnx", [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], [port("x", ["n", 3, 8, 8], TensorProto.INT64)], [port("y", None)])
    save("open.onnx", [relu, mean], [port("x", ["n", 3, "h", "w"])], [port("z", ["n", 3])])
    save("tokens.onnx", [helper.make_node("Reshape", ["x", "shape"], ["y"])], [image], [port("y", ["n", 3, 64])], [helper.make_tensor("shape", TensorProto.INT64, [3], [0, 3, 64])])
    # the logarithm of the mean: no number for an image that is darker than the mean
    save("nan.onnx", [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0), helper.make_node("Log", ["y"], ["z"])], [image], [port("z", ["n", 3])])
    far = helper.make_tensor("w", TensorProto.FLOAT, [4], [0.0] * 4)
    far.ClearField("float_data")
    far.data_location = TensorProto.EXTERNAL
    for key, value in [("location", "far.data"), ("offset", "0"), ("length", str(2**60))]:
        far.external_data.add(key=key, value=value)
    (folder / "far.data").write_bytes(bytes(16))
    save("far.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [image], [port("y", ["n", 3, 8, 8])], [far])
    far.external_data[0].value = "../../images/a.png"
    save("outside.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [image], [port("y", ["n", 3, 8, 8])], [far])


def main():
    names = json.loads((IMAGES / "expected.json").read_text())
    images = [open_image(IMAGES / n) for n in names]
    torch.manual_seed(1)
    cnn, out = Cnn(), {}
    x = prepared(images, 73, 64, IMAGENET)
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        cnn(x)
        cnn.eval()
        out["cnn"] = cnn(x)
        export(cnn, (x[:1],), HERE / "cnn.onnx", ["input"], ["features"], {"input": {0: "n"}, "features": {0: "n"}})
        export(cnn, (x[:4],), HERE / "cnn4.onnx", ["input"], ["features"], None)
        exact = prepared(images, (48, 40), None, HALF, InterpolationMode.BICUBIC)
        out["map"] = cnn.features(exact).mean((2, 3))
        axes = {"input": {0: "n", 2: "h", 3: "w"}, "map": {0: "n", 2: "h", 3: "w"}}
        export(cnn.features, (exact[:1],), HERE / "map.onnx", ["input"], ["map"], axes)
        axes = {"input": {0: "n", 1: "h", 2: "w"}, "map": {0: "n", 1: "h", 2: "w"}}
        export(Last(cnn.features), (exact[:1].permute(0, 2, 3, 1),), HERE / "map_nhwc.onnx", ["input"], ["map"], axes)
        vit = Vit().eval()
        x = prepared(images, (56, 56), None, HALF)
        tokens = vit(x)
        out["vit_cls"], out["vit_mean"] = tokens[:, 0], tokens.mean(1)
        export(vit, (x[:1],), HERE / "vit/vit.onnx", ["pixel_values"], ["last_hidden_state"], {"pixel_values": {0: "n"}, "last_hidden_state": {0: "n"}})
        config = {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": HALF[0], "image_std": HALF[1], "resample": 2}
        write_json(HERE / "vit/preprocessor_config.json", config | {"image_processor_type": "ViTImageProcessor", "size": {"height": 56, "width": 56}})
        ids = clip(images, out)
        bert(out)
    write_json(HERE / "expected.json", {"images": names, "texts": TEXTS, "clip_ids": ids})
    for name, rows in out.items():
        rows = rows.numpy().astype(np.float32)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        between = (unit @ unit.T)[np.triu_indices(len(rows), 1)]
        print(f"{name:10} {rows.shape}, cosine between rows: median {np.median(between):.3f}, largest {between.max():.4f}")
        np.save(HERE / f"{name}.npy", rows)
    bad()


if __name__ == "__main__":
    main()
