"""What compel makes of prompts: the trees of its parser, and the embeddings of its conditioning.

Written below test/testdata/goldens/compel:

    prompts.json               a list of {text, tree, flat} or {text, error}: `tree` is what the parser gives, with a
                               string for a fragment; `flat` is what it gives flattened, with [text, weight] for each
                               fragment and, in place of a swap, what is to be replaced
    states.json                for each of these that compel encodes with tiny's text encoder: {text, tokens, sample}, the
                               number of tokens and every 37th number of the embeddings
    MODEL/CASE/case.json       prompt, negative, clip_skip, guidance, steps, seed, width, height, images
    MODEL/CASE/states.npy      text embeddings, [prompts, tokens, width], the negative prompt's first
    MODEL/CASE/pooled.npy      pooled embeddings, [prompts, width] (sdxl)
    MODEL/CASE/picture.png     the picture that diffusers draws of them (some cases)

The models are tiny, whose text encoder takes attention_mask, and sdxl and v2 of layouts.py, whose encoders do not; there
compel is told to take text with a weight below 1 out (DownweightMode.REMOVE). Their torch modules are built again from
their seeds, and compared with the ONNX files.
"""

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo-model")]

import layouts  # noqa: E402
import make_tiny  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from compel import Compel, DownweightMode, ReturnedEmbeddingsType  # noqa: E402
from compel.prompt_parser import Blend, CrossAttentionControlSubstitute, Fragment, LoraWeight, PromptParser  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402

TESTDATA = HERE.parents[1] / "test/testdata"
FOLDER = TESTDATA / "goldens/compel"

LONG = "a red apple on a table, and a green cat. " * 3 + "the blue bird; a photo of a red table, blurry apples and the green cat on it"

PROMPTS = [
    "", " ", "a red apple", "a red apple on a  table", "A photo, of a cat.", "a,b", "a ,b", "a,,b", "a,.b", "a,,,b", ",", ".", "a.b", "a. b", "...",
    "word+", "word-", "word++ x", "a word-- x", "c++ code", "c++code", "a+b", "a-b", "well-known thing", "a - b", "a -- b", "+", "-", "++", "+a", "-a",
    "a+-", "a-+b", "a+,b", "1+", "1.5", "1.5+", "a 1.5 b", "4k, 8-k", "e=mc2", "a=+", "é+ ß-", "猫+ 犬", "x\u00a0y+", "tab\tword+", "line\nbreak+",
    "(a phrase)1.3", "(a phrase)1.3 x", "(a phrase)-1.3 x", "(a phrase)0.5x", "(a phrase).5", "(a phrase)2.", "(a)2", "(a)2 b", "(a)+2 b", "(a)+-2", "(a)++-",
    "(a)--", "(a)1e3", "(a)1.5e3", "(a) 1.5", "(a )1.5", "( a)1.5", "(a)1,5", "(cat)-0.5", "(cat)- 0.5", "(a, b)+ c", "(a. b)+ c", "(a (b)+ c)+ d", "((a)+)+",
    "((a)+ b)0.5", "(((a)))", "((a b)1.1 c)1.1", "a++ (b+)+ c", "(a+ b-)0.5", "a (b) c", "(a)(b)", "(a)+(b)-", "()", "( )", "()+", "(())", "() a",
    "(unbalanced", "unbalanced)", "((a cat)", "(a cat))", ")(", "a cat :)", "a cat :(", "(a (b)+", "a) (b)+", "(a+", "(a)+)", "(a\nb)+",
    '"quoted"', '"quoted words"+ on', '"quoted words"1.5 on', '"a" "b"', '""', '""+', '" "', '"', 'a "b', 'a "b" c', '"a ""b"" c"', '"a \\"b\\" c"', '"a b\\"',
    '"a (b c)+ d"-', '"a, b"+', '"cat,dog a)"+', '"a=b"+', '"a\nb"+', '("a" b)+', '"(a" b)', '"a\\nb"', '"a\\tb"', '"a\\0b"', '"a\\x52b"', '"a\\x41b"', '"a\\u74b"',
    '"a\\73b"', '"a\\\\"', "a.attend(1.5)", "a.attend(+)", "a.attend(---)", "(a b).attend(2)", '"a b".attend(0.5) c', "a .attend(1.5)", "a.attend( 1.5 )", "a.attend()",
    "a.attend(x)", "a.attend(-1.5)", "(a.attend(2))+", "a \\(cat\\) on", "\\(a+", "(a\\(b)+", "(a\\)b)+", "\\\\(a)", "\\\\\\(a\\)", "a\\+b", "(a\\+)", "(a\\,b)", "(a\\.b)+",
    'a \\" b', "(a\\ b)+", "a\\", "(a\\)", "\\", "(a cat:1.5) on", "((a cat:1.2))", "[a cat] on", "[a:b:0.5]", "<lora:x:1> a", "a BREAK b", "a AND b", "a | b", "{a|b}",
    "a cat.swap(dog) on", "a cat.swap(dog, s_start=0.1) on", '"a cat".swap("a dog") on', "(a cat).swap(a big dog, shape_freedom=0.5)", "a.swap()", "a.swap(b,)", "a.swap(b, c)",
    "a.swap((b, c), s_start=x)", "(a.swap(b))+", "a+.swap(b)", "(a+ b).swap(c-)", "(a cat.swap(dog) on)0.5", "a .swap(b)", "a.swap(b", "a.swap(b.swap(c))", "().swap(b)",
    "a.swap(b, 0.3, t_start=1, flag)", "a.swap(b, =)", "withLora(foo)", "withLora(foo,0.5)", "useLora(foo-bar,-1.5) a", "a withLora(foo,0.5) cat", "withLora(a) withLora(b, 2) c",
    "a withLora(foo)+", "(a withLora(foo, 1) b)+", "withLora()", "withLora(a b)", "withLora (foo) a", "withLora(foo,+1)", "withLora(foo,+1.5)", "withLora(foo", "xwithLora(foo)",
    '("a", "b").blend(0.7, 0.3)', '("a","b").blend(1,1,no_normalize)', '("a", "b").blend()', '("a").blend(1)', '("a b", c).blend(1, 2)', '("a+ b", (c d)-).blend(1, 2)',
    '("a", "b").blend(1, -0.5)', '("a", "b", "c").blend(1, 2, 3)', '("a", "b").blend(1, 1) tail', 'head ("a", "b").blend(1, 1)', '("a", "b").blend(1)', '("a", "b").blend(1, 2, 3)',
    '("a", "b").blend(x, 1)', '("a", "b").blend(no_normalize)', '("a", "b").blend(no_normalize, 1)', '("a", "b") .blend (1, 1)', '("a", "b").blend(1 1)', '("a" "b").blend(1, 1)',
    '("a.swap(b)", "c").blend(1, 1)', '("(a.swap(b))+", "c").blend(1, 1)', '("", "b").blend(1, 1)', '((), "b").blend(1, 1)', '("cat, a)", b).blend(1, 1)', '("cat, (a", b).blend(1, 1)',
    '("a=b, c", "d").blend(1, 1)', '("a \\"b\\" c", "d").blend(1, 1)', "(a, b).blend(1, 1)", "(a+, b).blend(1, 1)", '(("a", "b").blend(1, 1), "c").blend(1, 1)', 'withLora(x) ("a", "b").blend(1, 2)',
    '("a", "b").blend(1, 2) withLora(x)', '("a", "b").blend(1.5, .5)', '("a", "b").blend(+1.5, -.5)', '("a", "b").blend(+1, 1)', '("withLora(x) a", "b").blend(1, 1)', '("a", "b").blend(a=1, 2)',
    '("a", "b").and()', '("a", "b").and(0.5, 2)', '("a", "b").add(0.5, 2)', '("a", "b").and(1)', '("a").and()', '("a").and(2)', '("a", "b").and() tail', 'head ("a", "b").and()',
    '("a+ b", "c- d").and()', "(a, b).and()", "(a b, c).and()", "(a+, b-).and()", '("a" "b").and()', '("cat, a)", b).and()', '("a.swap(b)", "c").and()', '("withLora(x)", "a").and()',
    '("withLora(x)", "a").and(2, 3)', '("", "a").and(2, 3)', '((), "a").and(2, 3)', '("a", "b").and(no_normalize)', '("a", "b").and', '("a", "b").and(', '("a", "b").AND()', "().and()",
    '(("a", "b").and(), "c").and()', "(a)99999999999999999999", "a" + "+" * 40, "a" + "-" * 40, "(a)0", "(a)0.0", "a <|endoftext|> b+", "a\\\nb",
]

PIECES = [
    "a", "cat", "(", ")", "(", ")", '"', '"', "+", "-", "++", " ", " ", " ", ",", ".", "=", "\\", "\\(", '\\"', "1", "1.5", ".5", ".attend(", ".swap(", ".blend(1,1)", ".and()",
    "withLora(", '","', '("', '")', "é", "\t", "\n", ":", "(a cat)", '"a b"', "-0.5",
]  # fmt: skip

STATES = {
    "up": {"prompt": "a (red)1.5 apple++ on the table", "negative": "blurry"},
    "down": {"prompt": "a (red)0.4 apple, blurry-- cat", "negative": "(red)0.9 cat+"},
    "gone": {"prompt": "a red apple and (a green cat)0"},
    "nested": {"prompt": "(a (red)0.5 apple)1.4 on (a table)0.8"},
    "swap": {"prompt": "(a cat.swap(bird) on a table)0.7"},
    "blend": {"prompt": '("a red apple", "a blue+ bird").blend(0.7, 0.5)', "negative": "blurry"},
    "blend-as-is": {"prompt": '("a red apple", "a blue bird", "a cat-").blend(0.7, -0.3, 1, no_normalize)'},
    "blend-long": {"prompt": f'("{LONG}", "a cat").blend(1, 2)'},
    "and": {"prompt": '("a red apple", "a blue bird").and()', "negative": "blurry+"},
    "and-weighted": {"prompt": '("a red apple-", "a cat").and(0.5, 1.2)'},
    "long": {"prompt": LONG, "negative": "blurry"},
    "long-down": {"prompt": LONG.replace("green cat. the blue bird;", "(green cat. the blue bird;)0.6"), "negative": LONG},
    "long-phrases": {"prompt": LONG.replace(".", ",").replace("table", "(table)1.2")},
    "long-words": {"prompt": LONG.replace(".", "").replace(",", "").replace(";", "")},
    "long-sentence": {"prompt": "a cat. " + "a red apple, " * 25},
    "long-word-down": {"prompt": "a (" + "z" * 100 + ")0.6 cat"},
    "long-word": {"prompt": "z" * 100 + "x+"},
    "nothing": {"prompt": "()", "negative": "()"},
}
CASES = {
    "tiny": STATES,
    "sdxl": {name: STATES[name] for name in ("up", "down", "blend", "and", "long", "long-down")},
    "v2": {**{name: STATES[name] for name in ("down", "long", "nested")}, "clip-skip": {**STATES["down"], "clip_skip": 1}, "clip-skip-long": {**STATES["and"], "clip_skip": 1}},
}
PICTURES = {"sdxl": ("up", "long"), "v2": ("down", "clip-skip-long")}


def tree(nodes):
    """Nodes as the parser gives them."""
    found = []
    for node in nodes:
        if isinstance(node, Fragment):
            found.append(node.text)
        elif isinstance(node, CrossAttentionControlSubstitute):
            found.append({"swap": tree(node.original), "for": tree(node.edited)})
        elif isinstance(node, LoraWeight):
            found.append({"lora": node.model, "weight": node.weight})
        elif hasattr(node, "weight"):
            found.append({"attend": node.weight, "of": tree(node.children)})
        else:  # a group of pyparsing's
            found += tree(node)
    return found


def part(node):
    if isinstance(node, Blend):
        return {"blend": [tree(prompt.children) for prompt in node.prompts], "weights": node.weights, "normalize": node.normalize_weights}
    return tree(node.children)


def spans(prompt):
    found = []
    for child in prompt.children:
        found += [[f.text, f.weight] for f in (child.original if isinstance(child, CrossAttentionControlSubstitute) else [child])]
    return found


def summed(node, weight):
    if isinstance(node, Blend):
        return {"prompts": [spans(p) for p in node.prompts], "weights": node.weights, "normalize": node.normalize_weights, "weight": weight}
    return {"prompts": [spans(node)], "weights": [1], "normalize": True, "weight": weight}


class Parser(PromptParser):
    """compel's parser, which also remembers the tree before it is flattened."""

    def flatten(self, root, verbose=False):
        self.root = root
        return super().flatten(root, verbose)


def parse(parser, text):
    """One row of prompts.json."""
    parser.root = None
    try:
        flat = parser.parse_conjunction(text)
    except Exception as error:  # noqa: BLE001 whatever it raises is to be an error
        return {"text": text, "error": f"{type(error).__name__}: {error}"[:120]}
    root = parser.root or flat  # empty text is not parsed at all
    return {
        "text": text, "tree": {"parts": [part(p) for p in root.prompts], "weights": root.weights},
        "flat": [summed(p, w) for p, w in zip(flat.prompts, flat.weights)],
    }  # fmt: skip


def generated(count):
    rng = random.Random(1)
    while count:
        text = "".join(rng.choice(PIECES) for _ in range(rng.choice([3, 5, 8])))
        if text.count("(") < 4:  # pyparsing's time grows exponentially
            count -= 1
            yield text


class Conditioner:
    """compel for the text encoders of a model, as its CompelForSD and CompelForSDXL set it up."""

    def __init__(self, pairs, mode):
        self.pairs, self.mode = pairs, mode

    def compels(self, skip):
        if len(self.pairs) > 1:
            kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        elif skip:
            kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NORMALIZED
        else:
            kind = ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED
        for i, (tokenizer, encoder) in enumerate(self.pairs):
            yield Compel(
                tokenizer=tokenizer, text_encoder=encoder, returned_embeddings_type=kind, truncate_long_prompts=False,
                requires_pooled=i > 0, downweight_mode=self.mode,
            )  # fmt: skip

    @torch.no_grad()
    def encode(self, case):
        """States and pooled of the negative and the positive prompt, both as long as the longer one."""
        rows, paddings, pooled = [], [], []
        for text, skip in ((case["negative"], 0), (case["prompt"], case["clip_skip"])):
            text = text if text != "()" else ""  # compel fails on a prompt without any text
            columns, padding = [], []
            for compel in self.compels(skip):
                found = compel.build_conditioning_tensor(text)
                if compel.requires_pooled:
                    found, summary = found
                    pooled.append(summary)
                columns.append(found)
                padding.append(compel.build_conditioning_tensor("")[0] if compel.requires_pooled else compel.build_conditioning_tensor(""))
            rows.append(torch.cat(columns, dim=-1))
            paddings.append(torch.cat(padding, dim=-1))
        length = max(row.shape[1] for row in rows)
        for i, padding in enumerate(paddings):
            rows[i] = torch.cat([rows[i]] + [padding] * ((length - rows[i].shape[1]) // padding.shape[1]), dim=1)
        if len(self.pairs) > 1 and not case["negative"]:  # diffusers: force_zeros_for_empty_prompt
            rows[0], pooled[0] = torch.zeros_like(rows[0]), torch.zeros_like(pooled[0])
        return torch.cat(rows), torch.cat(pooled) if pooled else None


@torch.no_grad()
def sample(compel, texts):
    """The rows of states.json. compel fails on some prompts that it parses, such as those without any text."""
    for text in texts:
        try:
            states = compel.build_conditioning_tensor(text)
        except Exception as error:  # noqa: BLE001 whatever it raises
            print(f"not encoded: {text!r}: {type(error).__name__}: {error}"[:160])
            continue
        yield {"text": text, "tokens": states.shape[1], "sample": [float(f"{v:.7g}") for v in states.flatten()[::37].tolist()]}


def check(module, file):
    """The module built again must be the one that was exported."""
    ids = torch.arange(77)[None] % 500
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    inputs = {"input_ids": ids.numpy()}
    if any(value.name == "attention_mask" for value in session.get_inputs()):
        inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    exported = session.run(["last_hidden_state"], inputs)[0]
    np.testing.assert_allclose(module(ids).last_hidden_state.numpy(), exported, atol=1e-4, err_msg=f"{file} is not of these seeds")


def load(name, temporary):
    """A model's conditioner and, if it is one of layouts.py, diffusers' pipeline."""
    if name == "tiny":
        text = make_tiny.build()[0]
        make_tiny.liven(text, torch.Generator("cpu").manual_seed(7))
        text.eval().requires_grad_(False)
        for weight in text.parameters():
            if weight.numel() >= 64:  # as export.store_half does
                weight.copy_(weight.half().float())
        folder = TESTDATA / "models/tiny"
        check(text, folder / "text_encoder/model.onnx")
        return Conditioner([(CLIPTokenizer.from_pretrained(folder / "tokenizer"), text)], DownweightMode.MASK), None
    torch.manual_seed(1)
    texts, unet, vae = layouts.build(name)
    pipe = layouts.assemble(name, texts, unet, vae, temporary)
    pipe.set_progress_bar_config(disable=True)
    pairs = [(pipe.tokenizer, pipe.text_encoder)]
    if len(texts) > 1:
        pairs.append((pipe.tokenizer_2, pipe.text_encoder_2))
    for (_, module), part in zip(pairs, ("text_encoder", "text_encoder_2")):
        check(module, layouts.FOLDER / name / "model" / part / "model.onnx")
    return Conditioner(pairs, DownweightMode.REMOVE), pipe


def draw(pipe, case, states, pooled):
    more = {} if pooled is None else {"pooled_prompt_embeds": pooled[1:], "negative_pooled_prompt_embeds": pooled[:1]}
    return pipe(
        prompt_embeds=states[1:], negative_prompt_embeds=states[:1], guidance_scale=case["guidance"], num_inference_steps=case["steps"],
        width=case["width"], height=case["height"], generator=torch.Generator("cpu").manual_seed(case["seed"]), **more,
    ).images[0]  # fmt: skip


def store(file, rows):
    """A list in JSON, a line for each."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    file.write_text(f"[\n{lines}\n]\n")


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    parser = Parser()
    rows = [parse(parser, text) for text in [*PROMPTS, *generated(300)]]
    store(FOLDER / "prompts.json", rows)
    for name, cases in CASES.items():
        with tempfile.TemporaryDirectory() as temporary:
            conditioner, pipe = load(name, Path(temporary))
        if pipe is None:
            parsed = [row["text"] for row in rows if "error" not in row]
            store(FOLDER / "states.json", sample(next(conditioner.compels(0)), parsed))
        for title, case in cases.items():
            case = {"negative": "", "steps": 4, "seed": 3, "clip_skip": 0, "width": 16, "height": 24, "guidance": 5.0, "images": 1, **case}
            folder = FOLDER / name / title
            folder.mkdir(parents=True)
            (folder / "case.json").write_text(json.dumps(case, indent=2, sort_keys=True) + "\n")
            states, pooled = conditioner.encode(case)
            np.save(folder / "states.npy", states.numpy().astype(np.float32))
            if pooled is not None:
                np.save(folder / "pooled.npy", pooled.numpy().astype(np.float32))
            if title in PICTURES.get(name, ()):
                draw(pipe, case, states, pooled).save(folder / "picture.png")


if __name__ == "__main__":
    main()
