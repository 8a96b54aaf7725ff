"""Vectors as sentence-transformers makes them, to which ours must be equal: `PYTHON tests/golden/embedder/make.py DIRECTORY`.

PYTHON has sentence-transformers (made with 6.2.0 and torch 2.15.0 on a CPU), DIRECTORY the files of all-MiniLM-L6-v2. Writes `vectors.npz`:
one row per text, of length 1.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = Path(__file__).with_name("vectors.npz")
WORDS = "the river carries cold water past a mill where seven old wheels turn slowly under willow trees in summer rain".split()


def texts() -> list[str]:
    """What people ask, and what they paste."""
    return [
        "",
        " ",
        "?",
        "a",
        "How do I reset my password?",
        "how do i reset my password",
        "HOW DO I RESET MY PASSWORD?!",
        "How do I not reset my password?",
        "What is the capital of Australia?",
        "Ship 12 boxes to Oslo by 2026-10-03.",
        "Ship 21 boxes to Oslo by 2026-10-03.",
        "Convert 72 °F to °C, please",
        "What does HTTP 429 mean?",
        "def f(x):\n    return x ** 2  # square",
        "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name;",
        '{"model": "gpt-4o", "temperature": 0.2, "stop": ["\\n"]}',
        "https://example.com/path?query=1&other=%20#fragment",
        "C:\\Users\\me\\file.txt",
        "naïve café résumé Zürich Ærø",
        "nai\u0308ve cafe\u0301 re\u0301sume\u0301",
        "Straße, İstanbul, ŒUVRE, ﬁne",
        "Wie setze ich mein Passwort zurück?",
        "¿Cómo restablezco mi contraseña?",
        "Как сбросить пароль?",
        "如何重置我的密码",
        "パスワードをリセットするにはどうすればいいですか",
        "비밀번호를 어떻게 재설정하나요?",
        "كيف أعيد تعيين كلمة المرور؟",
        "איך מאפסים סיסמה?",
        "मैं अपना पासवर्ड कैसे रीसेट करूं?",
        "ฉันจะรีเซ็ตรหัสผ่านได้อย่างไร",
        "😀",
        "I 💜 pizza 🍕🍕🍕, do you? 👩‍👩‍👧‍👦 🇳🇴",
        "mixed 漢字 and кириллица with emoji 🚀 in one line",
        "\u0000null\u0007bell\u200bzero width\u202eright to left\ufeffmark",
        "tab\tnewline\nreturn\r\nno-break\u00a0space\u3000wide",
        "x" * 101,
        "y" * 5_000,
        "!" * 700,
        "[CLS] [SEP] [MASK] [PAD] [UNK] ##ing",
        "Donaudampfschifffahrtsgesellschaftskapitän pneumonoultramicroscopicsilicovolcanoconiosis",
        "Summarise this: " + " ".join(WORDS[(7 * n + n // 5) % len(WORDS)] for n in range(120)),
        " ".join(WORDS[(3 * n + n // 11) % len(WORDS)] for n in range(253)),
        " ".join(WORDS[(3 * n + n // 11) % len(WORDS)] for n in range(254)),
        " ".join(WORDS[(3 * n + n // 11) % len(WORDS)] for n in range(255)),
        " ".join(WORDS[(5 * n + n // 7) % len(WORDS)] for n in range(5_000)),
        "水" * 300,
        "word" + " " * 6_000 + "after a wide gap",
        ("z" * 3_000 + " ") * 3 + "and then something else",
    ]


def by_sentence_transformers(directory: str, sentences: list[str]) -> Any:
    """One text after another, so that no padding has a part in it. Raises `ImportError`."""
    model = importlib.import_module("sentence_transformers").SentenceTransformer(directory, device="cpu")
    return np.array([model.encode(text, normalize_embeddings=True, show_progress_bar=False) for text in sentences], np.float32)


if __name__ == "__main__":
    np.savez_compressed(VECTORS, vectors=by_sentence_transformers(sys.argv[1], texts()))
