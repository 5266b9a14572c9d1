# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Immich's names of models and languages, what they are called elsewhere, and its setting."""

from __future__ import annotations

from pydantic import BaseModel, Field

from config.values import Address


class ImmichSettings(BaseModel):
    """The setting for Immich. ``config.settings.Settings`` inherits it."""

    immich_ml_url: Address | None = Field(
        None,
        description="immich-machine-learning, such as `http://immich-machine-learning:3003`: "
        "`/predict` passes on to it faces, texts in pictures, and models that are not in the table",
    )


_SIGLIP = (
    "ViT-B-16-SigLIP ViT-B-16-SigLIP-256 ViT-B-16-SigLIP-384 ViT-B-16-SigLIP-512 "
    "ViT-B-16-SigLIP-i18n-256 ViT-L-16-SigLIP-256 ViT-L-16-SigLIP-384 ViT-SO400M-14-SigLIP-384 "
    "ViT-B-16-SigLIP2 ViT-B-16-SigLIP2-256 ViT-B-16-SigLIP2-384 ViT-B-16-SigLIP2-512 "
    "ViT-B-32-SigLIP2-256 ViT-L-16-SigLIP2-256 ViT-L-16-SigLIP2-384 ViT-L-16-SigLIP2-512 "
    "ViT-SO400M-14-SigLIP2 ViT-SO400M-14-SigLIP2-378 ViT-SO400M-16-SigLIP2-256 "
    "ViT-SO400M-16-SigLIP2-384 ViT-SO400M-16-SigLIP2-512 ViT-gopt-16-SigLIP2-256 "
    "ViT-gopt-16-SigLIP2-384"
)
_OPENAI = {
    "RN50__openai": ("timm/resnet50_clip.openai",),
    "RN50x4__openai": ("timm/resnet50x4_clip.openai",),
    "RN50x16__openai": ("timm/resnet50x16_clip.openai",),
    "RN50x64__openai": ("timm/resnet50x64_clip.openai",),
    "RN101__openai": ("timm/resnet101_clip.openai",),
    "ViT-B-32__openai": ("timm/vit_base_patch32_clip_224.openai", "openai/clip-vit-base-patch32"),
    "ViT-B-16__openai": ("timm/vit_base_patch16_clip_224.openai", "openai/clip-vit-base-patch16"),
    "ViT-L-14__openai": (
        "timm/vit_large_patch14_clip_224.openai",
        "openai/clip-vit-large-patch14",
    ),
    "ViT-L-14-336__openai": (
        "timm/vit_large_patch14_clip_336.openai",
        "openai/clip-vit-large-patch14-336",
    ),
}
_OTHERS = {
    "RN50__yfcc15m": "timm/resnet50_clip.yfcc15m",
    "RN50__cc12m": "timm/resnet50_clip.cc12m",
    "RN101__yfcc15m": "timm/resnet101_clip.yfcc15m",
    "ViT-B-32__laion400m_e31": "timm/vit_base_patch32_clip_224.laion400m_e31",
    "ViT-B-32__laion400m_e32": "timm/vit_base_patch32_clip_224.laion400m_e32",
    "ViT-B-32__laion2b_e16": "timm/vit_base_patch32_clip_224.laion2b_e16",
    "ViT-B-32__laion2b-s34b-b79k": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "ViT-B-16__laion400m_e31": "timm/vit_base_patch16_clip_224.laion400m_e31",
    "ViT-B-16__laion400m_e32": "timm/vit_base_patch16_clip_224.laion400m_e32",
    "ViT-B-16-plus-240__laion400m_e31": "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
    "ViT-L-14__laion400m_e31": "timm/vit_large_patch14_clip_224.laion400m_e31",
    "ViT-L-14__laion400m_e32": "timm/vit_large_patch14_clip_224.laion400m_e32",
    "ViT-L-14__laion2b-s32b-b82k": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "ViT-H-14__laion2b-s32b-b79k": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "ViT-g-14__laion2b-s12b-b42k": "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
    # DFN2B has two checkpoints of this size; "dfn-l14" in our table is the other one.
    "ViT-L-14-quickgelu__dfn2b": "apple/DFN2B-CLIP-ViT-L-14",
    "ViT-H-14-quickgelu__dfn5b": "apple/DFN5B-CLIP-ViT-H-14",
    "ViT-H-14-378-quickgelu__dfn5b": "apple/DFN5B-CLIP-ViT-H-14-378",
    "XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k": (
        "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k"
    ),
    "XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k": (
        "laion/CLIP-ViT-H-14-frozen-xlm-roberta-large-laion5B-s13B-b90k"
    ),
    "nllb-clip-base-siglip__v1": "visheratin/nllb-clip-base-siglip",
    "nllb-clip-base-siglip__mrl": "visheratin/nllb-siglip-mrl-base",
    "nllb-clip-large-siglip__v1": "visheratin/nllb-clip-large-siglip",
    "nllb-clip-large-siglip__mrl": "visheratin/nllb-siglip-mrl-large",
}

#: For each name of a model in Immich's settings, the repositories on the hub with its weights, the
#: one in open_clip's layout first. A name is open_clip's of the architecture, two underscores, and
#: open_clip's of the weights.
REPOSITORIES: dict[str, tuple[str, ...]] = (
    _OPENAI
    | {f"{name}__webli": (f"timm/{name}",) for name in _SIGLIP.split()}
    | {name: (repository,) for name, repository in _OTHERS.items()}
)

# The codes of FLORES-200 with which NLLB's tokenizer marks the language of a text. Immich sends the
# language of its user: two letters of ISO 639-1, or more where those do not suffice.
_LANGUAGES = (
    "af=afr_Latn am=amh_Ethi ar=arb_Arab as=asm_Beng az=azj_Latn be=bel_Cyrl bg=bul_Cyrl "
    "bn=ben_Beng bs=bos_Latn ca=cat_Latn cs=ces_Latn cy=cym_Latn da=dan_Latn de=deu_Latn "
    "el=ell_Grek en=eng_Latn eo=epo_Latn es=spa_Latn et=est_Latn eu=eus_Latn fa=pes_Arab "
    "fi=fin_Latn fil=tgl_Latn fr=fra_Latn ga=gle_Latn gd=gla_Latn gl=glg_Latn gu=guj_Gujr "
    "he=heb_Hebr hi=hin_Deva hr=hrv_Latn hu=hun_Latn hy=hye_Armn id=ind_Latn is=isl_Latn "
    "it=ita_Latn ja=jpn_Jpan ka=kat_Geor kk=kaz_Cyrl km=khm_Khmr kmr=kmr_Latn kn=kan_Knda "
    "ko=kor_Hang ku=kmr_Latn ky=kir_Cyrl lb=ltz_Latn lo=lao_Laoo lt=lit_Latn lv=lvs_Latn "
    "mi=mri_Latn mk=mkd_Cyrl ml=mal_Mlym mn=khk_Cyrl mr=mar_Deva ms=zsm_Latn mfa=zsm_Latn "
    "mt=mlt_Latn my=mya_Mymr nb=nob_Latn ne=npi_Deva nl=nld_Latn nn=nno_Latn no=nob_Latn "
    "pa=pan_Guru pl=pol_Latn ps=pbt_Arab pt=por_Latn ro=ron_Latn ru=rus_Cyrl si=sin_Sinh "
    "sk=slk_Latn sl=slv_Latn so=som_Latn sq=als_Latn sr=srp_Cyrl sv=swe_Latn sw=swh_Latn "
    "ta=tam_Taml te=tel_Telu tg=tgk_Cyrl th=tha_Thai tl=tgl_Latn tr=tur_Latn tt=tat_Cyrl "
    "ug=uig_Arab uk=ukr_Cyrl ur=urd_Arab uz=uzn_Latn vi=vie_Latn yue=yue_Hant "
    "zh=zho_Hans zh-tw=zho_Hant zh-hk=zho_Hant zh-hant=zho_Hant zu=zul_Latn"
)
_FLORES = dict(pair.split("=") for pair in _LANGUAGES.split())
_BY_LOWER_CASE = {name.lower(): found for name, found in REPOSITORIES.items()}


def plain_name(name: str) -> str:
    """The name of a model without what older versions of Immich wrote differently."""
    return name.rsplit("/", 1)[-1].replace("::", "__")


def repositories(name: str) -> tuple[str, ...]:
    """The repositories with the weights of a model of Immich; none if its name is not known.

    Other spellings are known, too: in lower case, as a repository of the table above, and, where
    an architecture has only one set of weights, without these.
    """
    wanted = plain_name(name).lower()
    if found := _BY_LOWER_CASE.get(wanted):
        return found
    aliases = [
        found
        for known, found in _BY_LOWER_CASE.items()
        if known.partition("__")[0] == wanted or name.lower() in map(str.lower, found)
    ]
    return aliases[0] if len(aliases) == 1 else ()


def flores(language: str) -> str | None:
    """The code of a language such as "de" or "pt-BR" in FLORES-200; None if it is not known."""
    written = language.replace("_", "-").lower()
    return _FLORES.get(written) or _FLORES.get(written.partition("-")[0])
